"""Two ways to meet a resource target exactly: bound every step, or rescale the finished strategy.

Both work for any resource that does not shrink when a layer keeps more, both count after rounding, and neither
ever exceeds the target.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from numbers import Real
from typing import NamedTuple

from envs.costs.resource_use import RESOURCES as RESOURCES
from envs.costs.resource_use import use, why_unreachable
from envs.engine.plugins import is_own
from envs.engine.types import Layer, PruningEngine, Strategy

# Guards comparisons of the form 0.3 * 10 >= 3 against the last bit.
ROUNDING_ERROR = 1e-9

# Ratios closer than this are one: actions are single precision.
NEGLIGIBLE = 1e-6


class TargetError(ValueError):
    """No strategy can meet the target."""


def minimum(layer: Layer, min_keep: float, units: int) -> int:
    """Return the smallest number of units that is allowed and not below ``min_keep`` of ``units``, or all there are."""
    wanted = min_keep * units - ROUNDING_ERROR
    return next((choice for choice in layer.choices if choice >= wanted), layer.units)


@dataclass(frozen=True)
class ResourceBudget:
    """A limit on one resource of the networks an engine can make.

    Attributes:
        engine: knows the cost of a strategy.
        resource: what is limited, one of ``RESOURCES`` or one's own.
        target: fraction of the dense network's resource that may be kept, in (0, 1].
        min_keep: no layer keeps less than this fraction of its units, in (0, 1).
        units: for every layer the units that ``min_keep`` is a fraction of; more than it has where some went before.
            By default those it has.

    Raises:
        TargetError: no strategy can meet the target.
        ValueError: the engine does not know the resource, or ``min_keep`` is no fraction.
    """

    engine: PruningEngine
    resource: str
    target: float
    min_keep: float
    units: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if self.resource not in RESOURCES and not is_own("resources", self.resource):
            raise ValueError(f"resource={self.resource!r}: must be one of {', '.join(RESOURCES)}")
        if not 0 < self.min_keep < 1 - NEGLIGIBLE:
            raise ValueError(f"min_keep={self.min_keep}: must be above 0 and below 1, or there is nothing to choose")
        if not _is_fraction(self.target):
            raise TargetError(f"target={self.target}: the fraction of {self.resource} to keep must be in (0, 1]")
        if (least := self.usage(self.floors)) > self.limit:
            smallest = self.usage(tuple(layer.choices[0] / layer.units for layer in self.engine.layers))
            shares = (least / self.dense, smallest / self.dense)
            raise TargetError(why_unreachable(self.engine, self.resource, self.target, self.min_keep, *shares))

    @cached_property
    def dense(self) -> float:
        """What the unpruned network uses."""
        return self.usage((1.0,) * len(self.engine.layers))

    @cached_property
    def limit(self) -> float:
        """What a pruned network may use."""
        return self.target * self.dense

    @cached_property
    def floors(self) -> Strategy:
        """The smallest keep ratio allowed for each layer, after rounding."""
        layers = self.engine.layers
        units = self.units or [layer.units for layer in layers]
        return tuple(
            minimum(layer, self.min_keep, count) / layer.units for layer, count in zip(layers, units, strict=True)
        )

    @cached_property
    def ratios(self) -> tuple[Strategy, ...]:
        """The keep ratios allowed for each layer, ascending from its floor to 1."""
        return tuple(
            tuple(choice / layer.units for choice in layer.choices if choice / layer.units >= floor)
            for layer, floor in zip(self.engine.layers, self.floors, strict=True)
        )

    def usage(self, strategy: Strategy) -> float:
        """Return how much of the resource the network pruned by ``strategy`` uses."""
        return use(self.engine.cost(strategy), self.resource)

    def fits(self, strategy: Strategy) -> bool:
        """Tell whether the network pruned by ``strategy`` is within the limit."""
        return self.usage(strategy) <= self.limit

    def execute(self, step: int, keep: float) -> float:
        """Return what rounding and ``min_keep`` make of the ratio wanted for layer ``step``."""
        return max(self.engine.layers[step].executed(keep), self.floors[step])


def largest(count: int, fits: Callable[[int], bool]) -> int:
    """Return the last of ``0 ... count - 1`` that fits, by bisection; 0 is known to."""
    low, high = 0, count
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def bound(budget: ResourceBudget, prefix: Strategy, keep: float) -> float:
    """Lower a ratio as far as the later layers need it: AMC's Algorithm 1 for any monotone resource.

    Args:
        budget: the limit to meet.
        prefix: the ratios executed so far, themselves bounded.
        keep: the ratio wanted for the next layer.

    Returns:
        The executed ratio: the wanted one, rounded, if the limit can still be met with every later layer at its
        minimum, else the largest for which it can.

    References:
        He et al., 2018, "AMC: AutoML for Model Compression and Acceleration on Mobile Devices", Algorithm 1.
    """
    step = len(prefix)
    later = budget.floors[step + 1 :]
    wanted = budget.execute(step, keep)
    if budget.fits((*prefix, wanted, *later)):
        return wanted
    ratios = [ratio for ratio in budget.ratios[step] if ratio < wanted]
    return ratios[largest(len(ratios), lambda i: budget.fits((*prefix, ratios[i], *later)))]


class Increment(NamedTuple):
    """The factor from which on a layer keeps its next larger number of units."""

    factor: float
    step: int


def increments(budget: ResourceBudget, strategy: Strategy) -> list[Increment]:
    """List, in ascending order, where multiplying ``strategy`` by a growing factor adds units to a layer.

    Layers that grow at the same factor do so one after the other, in forward order.
    """
    found = []
    for step, (layer, keep, floor) in enumerate(zip(budget.engine.layers, strategy, budget.floors, strict=True)):
        steps = zip(layer.choices, layer.choices[1:], strict=False)
        # Rounding is to the nearest choice, so a layer grows halfway between two of them.
        halfway = [(below + above) / 2 for below, above in steps if below / layer.units >= floor]
        found += [Increment(units / (keep * layer.units), step) for units in halfway]
    return sorted(found)


def rescale(budget: ResourceBudget, strategy: Strategy) -> Strategy:
    """Multiply all ratios by one factor, up or down, so that the limit is met and used.

    The factor is found by bisection over the increments, so the result is exact: it fits, and the next increment
    (one layer, one choice) would not. Less than one rounding step of one layer stays unused, unless every layer is
    already whole. With ``min_keep`` no layer falls below its minimum, whatever the factor.
    """
    return fill(budget, [increment.step for increment in increments(budget, strategy)])


def fill(budget: ResourceBudget, order: Sequence[int]) -> Strategy:
    """Let layers grow from their floors, in a given order, as far as the limit allows.

    The point where it ends is found by bisection, so the result is exact: it fits, and with the next of ``order`` it
    would not.

    Args:
        budget: the limit to meet.
        order: numbers of layers; each time a layer is named it takes its next larger allowed ratio, so it may stand
            there at most as often as it can grow.
    """

    def grown(count: int) -> Strategy:
        added = Counter(order[:count])
        return tuple(ratios[added[step]] for step, ratios in enumerate(budget.ratios))

    return grown(largest(len(order) + 1, lambda count: budget.fits(grown(count))))


def uniform_ratio(budget: ResourceBudget) -> float:
    """Return the largest keep ratio that all layers alike can have within the limit.

    Between two increments every ratio rounds to the same strategy; the one in the middle is returned, which no later
    change of precision moves across.
    """
    steps = range(len(budget.engine.layers))
    growth = [increment.factor for increment in increments(budget, (1.0,) * len(steps))]
    edges = [budget.min_keep, *growth, 1.0]
    plateaus = [(low, high) for low, high in pairwise(edges) if high - low > NEGLIGIBLE]

    def fits(number: int) -> bool:
        middle = sum(plateaus[number]) / 2
        return budget.fits(tuple(budget.execute(step, middle) for step in steps))

    return sum(plateaus[largest(len(plateaus), fits)]) / 2


def uniform_strategy(budget: ResourceBudget) -> Strategy:
    """Return the strategy of the largest ratio that all layers alike can have within the limit."""
    ratio = uniform_ratio(budget)
    return tuple(budget.execute(step, ratio) for step in range(len(budget.engine.layers)))


class Constraint(NamedTuple):
    """How the target is met.

    Attributes:
        step: ``(budget, ratios so far, wanted ratio) -> ratio`` of the next layer.
        finish: ``(budget, ratios of all layers) -> executed strategy``.
    """

    step: Callable[[ResourceBudget, Strategy, float], float]
    finish: Callable[[ResourceBudget, Strategy], Strategy]


def _as_wanted(budget: ResourceBudget, _: Strategy, keep: float) -> float:
    return max(keep, budget.min_keep)


def _as_played(_: ResourceBudget, strategy: Strategy) -> Strategy:
    return strategy


CONSTRAINTS: dict[str, Constraint] = {
    "bound": Constraint(step=bound, finish=_as_played),
    "rescale": Constraint(step=_as_wanted, finish=rescale),
}


def _is_fraction(target: object) -> bool:
    """Whether a target, whatever a caller gave, is above 0 and at most 1."""
    return isinstance(target, Real) and 0 < float(target) <= 1
