"""Two ways to meet a resource target exactly: bound every step, or rescale the finished strategy.

Both work for any resource that does not shrink when a layer keeps more, and for limits on several at once; both count
after rounding, and neither ever exceeds the target.
"""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

from envs.costs.budget import NEGLIGIBLE
from envs.costs.budget import ROUNDING_ERROR as ROUNDING_ERROR
from envs.costs.budget import ResourceBudget as ResourceBudget
from envs.costs.budget import TargetError as TargetError
from envs.costs.budget import minimum as minimum
from envs.costs.resource_use import RESOURCES as RESOURCES
from envs.engine.types import Strategy


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
        found += [Increment(units / (keep * layer.units) if keep else math.inf, step) for units in halfway]
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
