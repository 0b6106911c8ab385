"""A limit on time that is met as measured: a strategy gives up more, or less, until it takes what was asked for.

A table of times is right in the mean and off by some percent for a single network, and a search finds those that the
table takes for faster than they are. So a strategy and some like it, that a moved limit would have made of it, are
measured together, and the one that takes the time is taken.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import NamedTuple

from envs.costs.budget import ResourceBudget, TargetError
from envs.costs.resource_use import use
from envs.engine.types import Strategy

log = logging.getLogger(__name__)
LATENCY = "latency"
NEAR, FAR = 0.02, 0.05
"""Of the limit: nearer than this no two measurements of a network agree; further off than that, it is tried again."""
USED = 0.95
"""Of the limit, by prediction: a strategy that uses less did not want more."""
MOVED = (0.84, 0.88, 0.92, 0.96, 1.0, 1.04, 1.08, 1.12)
WINDOWS = 2


class Timed(NamedTuple):
    """What a strategy takes, as fractions of the dense network's time.

    Attributes:
        strategy: that was measured.
        predicted: by the table.
        measured: by the clock.
    """

    strategy: Strategy
    predicted: float
    measured: float


def fit_to_clock(
    strategy: Strategy,
    refit: Callable[[ResourceBudget], Strategy],
    budget: ResourceBudget,
    wanted: float,
    measure: Callable[[Sequence[Strategy]], Sequence[float]],
) -> tuple[Timed, list[Timed]]:
    """Measure a strategy and others like it, and return the one that takes the time that is wanted.

    Args:
        strategy: within the limits of ``budget``, by prediction.
        refit: makes one like it that uses another budget.
        budget: limits latency, alone or with other resources, which are met as they are.
        wanted: fraction of the dense network's time.
        measure: what fractions of it some strategies take, in turn with each other and the dense network.

    Returns:
        The one chosen, and all that were measured, the given one first.
    """
    limit, measured = budget.targets[LATENCY], list[Timed]()
    for _ in range(WINDOWS):
        versions = list(dict.fromkeys([strategy, *_versions(refit, budget, limit)]))
        if {each.strategy for each in measured}.issuperset(versions):
            break
        shares = measure(versions)
        timed = [Timed(each, _share(budget, each), share) for each, share in zip(versions, shares, strict=True)]
        measured += timed
        full = timed[0].predicted >= USED * budget.targets[LATENCY]
        chosen = _nearest(timed, wanted, grows=full)
        off = chosen.measured / wanted - 1
        if off <= NEAR and (off >= -FAR or not full):
            break
        limit = min(chosen.predicted / (1 + off), 1.0)
    if off > NEAR:
        log.warning("target=%g of the latency: the nearest that was found takes %.3g", wanted, chosen.measured)
    return chosen, measured


def _versions(refit: Callable[[ResourceBudget], Strategy], budget: ResourceBudget, limit: float) -> Iterator[Strategy]:
    for factor in MOVED:
        with suppress(TargetError):  # no strategy is as fast as that
            yield refit(_with_limit(budget, min(limit * factor, 1.0)))


def _nearest(timed: Sequence[Timed], wanted: float, *, grows: bool) -> Timed:
    """Return the one that was given if it takes the time, else the largest that takes no longer, or else the fastest.

    ``grows``: whether one that takes less than is wanted is to take more.
    """
    given, most = timed[0], wanted * (1 + NEAR)
    if given.measured <= most and (given.measured >= wanted * (1 - NEAR) or not grows):
        return given
    within = [each for each in timed if each.measured <= most]
    return max(within, key=lambda each: each.measured) if within else min(timed, key=lambda each: each.measured)


def _with_limit(budget: ResourceBudget, limit: float) -> ResourceBudget:
    """Return a budget with another limit on latency.

    Raises:
        TargetError: no strategy can meet it.
    """
    if budget.resource == LATENCY:
        return replace(budget, target=limit)
    return replace(budget, limits={**budget.limits, LATENCY: limit})


def _share(budget: ResourceBudget, strategy: Strategy) -> float:
    dense = (1.0,) * len(strategy)
    return use(budget.engine.cost(strategy), LATENCY) / use(budget.engine.cost(dense), LATENCY)
