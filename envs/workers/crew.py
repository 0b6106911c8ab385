"""What a crew of workers offers, whatever it is made of, and how the engine of the driver keeps it busy."""

from typing import NamedTuple, Protocol

from envs.engine.types import Evaluation, Strategy


class WorkersLost(RuntimeError):
    """Workers die where they should work."""


class Answer(NamedTuple):
    """What a worker has to say; with neither evaluation, error nor loss, that it is ready.

    Attributes:
        worker: its number.
        evaluation: of what it was handed last.
        error: what evaluating raised.
        lost: why there is no worker any more; empty while there is.
    """

    worker: int
    evaluation: Evaluation | None = None
    error: Exception | None = None
    lost: str = ""


class Crew(Protocol):
    """Some workers, each with an engine of its own. All are to be waited for until they are ready."""

    @property
    def size(self) -> int:
        """How many there are."""

    def hand(self, worker: int, strategy: Strategy) -> None:
        """Have a worker that is ready evaluate a strategy. Where it has died meanwhile, an answer will say so."""

    def wait(self, seconds: float | None) -> list[Answer]:
        """Return what workers have to say, after so many seconds nothing.

        A worker that has evaluated is ready again. In place of a lost one another is begun.
        """

    def close(self) -> None:
        """End all workers."""
