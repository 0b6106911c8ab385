"""Who works on a search, as users choose it."""

from dataclasses import dataclass

from envs.engine.fields import Interval, OneOf, check_settings, setting

WORKERS = ("none", "local", "ray")
EACH = 2
"""Proposals for each worker: one that is evaluated, and one that waits, so that nobody waits for who is slower."""


@dataclass(frozen=True)
class WorkersSettings:
    """Who evaluates strategies.

    Attributes:
        name: none for the process of the search, local for processes of this machine, ray for actors of Ray.
        n: how many workers. Policies that go by rewards make twice as many proposals before they know the first one's
            reward, so that their trials depend on it.
        threads: of torch in each.
        gpus: of each, for ray; 0.25 lets four share one.
        address: of a running Ray; null for that of RAY_ADDRESS, or where there is none for one on this machine.

    Raises:
        ValueError: a value is out of range, or two do not go together.
    """

    name: str = setting("none", OneOf(WORKERS))
    n: int = setting(1, Interval(1, 4096))
    threads: int = setting(1, Interval(1, 1024))
    gpus: float = setting(0.0, Interval(0, 64))
    address: str | None = None

    def __post_init__(self) -> None:
        check_settings(self)
        if self.name == "none" and self.n > 1:
            raise ValueError(f"n={self.n}: goes with workers=local or workers=ray")
        if self.name != "ray" and (self.gpus or self.address is not None):
            raise ValueError(f"{'gpus' if self.gpus else 'address'}: goes with workers=ray")

    @property
    def ahead(self) -> int:
        """How many proposals a policy makes, unless it is told otherwise, before it knows the first one's reward."""
        return 1 if self.name == "none" else EACH * self.n


def workers_of(asked: int | WorkersSettings) -> WorkersSettings:
    """Return who works: so many processes of this machine, nobody beside this one with 0, or what is asked."""
    if isinstance(asked, WorkersSettings):
        return asked
    return WorkersSettings("local", asked) if asked else WorkersSettings()


@dataclass(frozen=True)
class StudySettings:
    """A study of Optuna that several searches work on.

    Attributes:
        storage: address of its database, for ``policy=optuna``: ``postgresql://host/name``; null for one in memory. A
            password comes from the environment, ``${oc.env:STUDY}``, or from ~/.pgpass.
        name: of the study; null for amc.
    """

    storage: str | None = None
    name: str | None = None
