"""What a search is asked for: how much of which resource may be kept, and what a strategy is worth."""

from dataclasses import dataclass, field

from envs.constraint import CONSTRAINTS
from envs.engine.choices import COSTS
from envs.engine.fields import Interval, OneOf, check_settings, setting
from envs.rewards import REWARDS

RESOURCE, FRACTION = OneOf(COSTS, own="resources"), Interval(0, 1, low_open=True)


@dataclass(frozen=True)
class ProblemSettings:
    """The problem that policies play.

    Attributes:
        resource: what the target limits; ``memory``: bytes of the weights as shipped; ``latency``: seconds on the
            ``device_profile``, predicted from a table of the network's layers; ``memory_peak``: bytes of weights and
            live activations of one image at the peak of a forward pass; or one's own function of a ``Cost``, as
            ``my_package.energy``.
        target: fraction of the dense network's resource that may be kept, above 0 and at most 1.
        limits: further targets that have to be met as well, by resource; ``resource=[flops,latency] target=[0.5,0.6]``
            on the command line is ``resource=flops target=0.5 +limits.latency=0.6``.
        constraint: how the target is met: ``bound`` layer by layer, ``rescale`` by one factor on the whole strategy.
        reward: what an episode is worth: AMC's R_err, R_FLOPs and R_Param, or less loss, or less divergence from the
            outputs of the network that is pruned; or one's own function of an ``Evaluation`` and a ``Cost``.
        min_keep: smallest keep ratio of a layer.
        episodes: strategies that may be scored, in every stage.
        max_drop: how much of the metric on the search split may be lost: the smallest network that loses no more is
            searched for, and ``target`` is not asked for. Null for the ``target``.

    Raises:
        ValueError: a value is out of range.
    """

    resource: str = setting("flops", RESOURCE)
    target: float = setting(0.5, FRACTION)
    limits: dict[str, float] = field(default_factory=dict)
    constraint: str = setting("rescale", OneOf(tuple(CONSTRAINTS)))
    reward: str = setting("accuracy", OneOf(tuple(REWARDS), own="rewards"))
    min_keep: float = setting(0.1, Interval(0, 0.99, low_open=True))
    episodes: int = setting(150, Interval(1, 10**6))
    max_drop: float | None = setting(None, Interval(0, 1))

    def __post_init__(self) -> None:
        check_settings(self)
        for resource, target in self.limits.items():
            if resource == self.resource or not RESOURCE.holds(resource):
                raise ValueError(f"limits.{resource}: must be {RESOURCE}, and another than resource={self.resource}")
            if not FRACTION.holds(target):
                raise ValueError(f"limits.{resource}={target}: must be {FRACTION}")
        if self.limits and self.max_drop is not None:
            raise ValueError("limits: must be empty with max_drop, which makes one resource as small as it can be")

    def limited(self, resource: str) -> bool:
        """Whether there is a target for a resource."""
        return resource == self.resource or resource in self.limits
