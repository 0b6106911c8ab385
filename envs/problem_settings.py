"""What a search is asked for: how much of which resource may be kept, and what a strategy is worth."""

from dataclasses import dataclass

from envs.constraint import CONSTRAINTS
from envs.engine.choices import COSTS
from envs.engine.fields import Interval, OneOf, check_settings, setting
from envs.rewards import REWARDS


@dataclass(frozen=True)
class ProblemSettings:
    """The problem that policies play.

    Attributes:
        resource: what the target limits; ``memory``: bytes of the weights as shipped; ``latency``: seconds on the
            ``device_profile``, predicted from a table of the network's layers; ``memory_peak``: bytes of weights and
            live activations of one image at the peak of a forward pass; or one's own function of a ``Cost``, as
            ``my_package.energy``.
        target: fraction of the dense network's resource that may be kept, above 0 and at most 1.
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

    resource: str = setting("flops", OneOf(COSTS, own="resources"))
    target: float = setting(0.5, Interval(0, 1, low_open=True))
    constraint: str = setting("rescale", OneOf(tuple(CONSTRAINTS)))
    reward: str = setting("accuracy", OneOf(tuple(REWARDS), own="rewards"))
    min_keep: float = setting(0.1, Interval(0, 0.99, low_open=True))
    episodes: int = setting(150, Interval(1, 10**6))
    max_drop: float | None = setting(None, Interval(0, 1))

    def __post_init__(self) -> None:
        check_settings(self)
