"""Sensitivity analysis: how much each layer bears by itself decides how much it keeps."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice, repeat, zip_longest
from typing import ClassVar, NamedTuple

import numpy as np
from scipy.optimize import isotonic_regression

from baselines.compass_search import CompassSearch, WeightPlayer, Weights
from envs.constraint import ROUNDING_ERROR, ResourceBudget, fill, uniform_ratio
from envs.engine.fields import Interval, OneOf, check_settings, setting
from envs.engine.settings import AHEAD
from envs.engine.types import Evaluation, Strategy
from envs.search import RecordTrials, Trial, quality
from envs.sensitivity import SensitivityPoint, sensitivity_curves

WATCHED = ("loss", "metric")
# How far a layer's threshold grows with what pruning it saves: not at all as published, by half, and in full.
EXPONENTS = (0.0, 0.5, 1.0)
# Stands for a loss that overflowed.
DESTROYED = 100.0


class DamageCurve(NamedTuple):
    """Damage of a layer over the square of what is removed, from 0 to 1; linear between the points."""

    square: tuple[float, ...]
    damage: tuple[float, ...]

    def at(self, ratios: Sequence[float]) -> list[float]:
        """Return the damage at each keep ratio."""
        return list(np.interp([(1 - keep) ** 2 for keep in ratios], self.square, self.damage).tolist())


@dataclass(frozen=True)
class SensitivityAnalysis:
    """Prunes one layer at a time, and then each layer as far as its damage stays below one threshold.

    1. The uniform strategy is played. It is what equal curves would give, all that one episode buys, and a result
       for a search that is stopped while layers are scored.
    2. The dense network and networks with one layer pruned are scored (``env.score_strategy``). In rounds over
       the layers, those first whose pruning saves most, each layer is tried at the ratio of the uniform strategy,
       and then always where it is farthest from what it was tried at. Layers that the episodes do not reach are taken
       for average ones.
    3. A layer's damage is what the point's loss is above the dense network's, made monotone by isotonic regression.
       Between points it is linear in the square of what is removed, as it is for small changes of a trained network.
    4. Every layer keeps the least with which its damage stays below a threshold. The threshold is the smallest whose
       network is within the target; it is found by bisection, without an evaluation, and after rounding.
    5. The episodes that are left improve on that strategy. The same threshold is tried on damage divided by what the
       layer saves, as equal damage for equal savings is what an optimum has; then compass search doubles and halves
       the weight of one layer's damage at a time, and ever smaller factors, as long as the reward rises.

    Nothing is random. A search ends early when no factor leads to a strategy that was not tried.

    Attributes:
        probing: share of the episodes for points, in [0, 1). Fewer than two points tell nothing and are not made.
        watch: what damage is measured by: ``loss``, which sees changes that are too small for an accuracy, or
            ``metric`` as published. A score without a loss is watched by its metric.
        refine: whether step 5 is taken; without it the analysis is as published and leaves its episodes unused.
        at_once: strategies of step 5 that are asked for before the first of them is known, so that workers have
            something to do; null for two a worker, 1 without any. The trials of that step depend on it.

    Raises:
        ValueError: a value is out of range.

    References:
        Han et al., 2015, "Learning both Weights and Connections for Efficient Neural Networks", arXiv 1506.02626.
        Li et al., 2016, "Pruning Filters for Efficient ConvNets", arXiv 1608.08710.
    """

    # Probes of one layer keep more than the best so far, and would win every race.
    needs: ClassVar[Mapping[str, object]] = {"scoring": ("full", "coreset")}

    probing: float = setting(0.5, Interval(0, 1, high_open=True))
    watch: str = setting("loss", OneOf(WATCHED))
    refine: bool = True
    at_once: int | None = setting(None, AHEAD)

    def __post_init__(self) -> None:
        check_settings(self)

    def search(self, env: RecordTrials) -> None:
        """Score layers, play the strategy of the threshold, and improve on it until no episode is left."""
        budget, ahead = env.problem.budget, self.at_once or env.problem.ahead
        points = min(int(self.probing * env.remaining), env.remaining - 2)
        ratio = uniform_ratio(budget)
        saved = savings(budget)
        # Side by side, as neither depends on the other.
        first = [
            env.problem.execute((ratio,) * len(saved)),
            *(probes(budget, ratio, saved, points) if points >= 2 else ()),
        ]
        uniform, *_ = env.score_ahead(first, env.problem.at_once)
        damages = [curve.at(ratios[:-1]) for curve, ratios in zip(self._curves(env), budget.ratios, strict=True)]
        player = WeightPlayer(env, partial(below_threshold, budget, damages), ahead, uniform)
        starts = [tuple(share**-exponent for share in saved) for exponent in EXPONENTS]
        found: dict[Weights, Trial] = {}
        player.play(starts if self.refine else starts[:1], found.__setitem__)
        if self.refine and found:
            best = max((weights for weights in starts if weights in found), key=lambda weights: quality(found[weights]))
            CompassSearch(best, found[best]).run(player)

    def _curves(self, env: RecordTrials) -> list[DamageCurve]:
        """Return what the points tell of every layer; an average layer's for one without points."""
        measured = sensitivity_curves(env.trials, [layer.name for layer in env.problem.engine.layers])
        fitted = [fit_curve(curve.points, self.watch) for curve in measured]
        ends = [curve.damage[-1] for curve in fitted if curve is not None]
        average = DamageCurve((0.0, 1.0), (0.0, sum(ends) / len(ends) if ends else 1.0))
        return [curve or average for curve in fitted]


def fit_curve(points: Sequence[SensitivityPoint], watch: str) -> DamageCurve | None:
    """Return the curve of a layer, or none if it or the dense network was not scored.

    Args:
        points: of the layer, keep ratios ascending; the dense network, which keeps everything, is the last.
        watch: what damage is measured by, one of ``WATCHED``.
    """
    if len(points) < 2 or points[-1].keep < 1:
        return None
    dense, *pruned = reversed(points)
    squares = [0.0, *((1 - point.keep) ** 2 for point in pruned)]
    damages = [measure_damage(point.evaluation, dense.evaluation, watch) for point in pruned]
    damage = isotonic_regression([0.0, *damages]).x
    # Beyond the last point the damage goes on in proportion to the square.
    return DamageCurve((*squares, 1.0), (*damage.tolist(), float(damage[-1]) / squares[-1]))


def measure_damage(pruned: Evaluation, dense: Evaluation, watch: str) -> float:
    """Return how much worse a network is than the dense one, 0 if it is better."""
    if watch == "metric" or not math.isfinite(dense.loss):
        return max(0.0, dense.metric - pruned.metric)
    return max(0.0, pruned.loss - dense.loss) if math.isfinite(pruned.loss) else DESTROYED


def savings(budget: ResourceBudget) -> Weights:
    """Return for every layer the share of the resource that goes when it alone is pruned to its floor."""
    whole = (1.0,) * len(budget.floors)
    used = [budget.usage((*whole[:step], floor, *whole[step + 1 :])) for step, floor in enumerate(budget.floors)]
    # Weights divide by it.
    return tuple(max(1 - usage / budget.dense, ROUNDING_ERROR) for usage in used)


def probes(budget: ResourceBudget, ratio: float, saved: Weights, count: int) -> list[Strategy]:
    """Return the dense network's strategy and ``count - 1`` with one layer pruned, or as many as there are.

    Args:
        budget: knows the ratios of every layer.
        ratio: where each layer is tried first.
        saved: what pruning a layer saves; layers that save more come first in every round.
        count: how many points may be made.
    """
    whole = (1.0,) * len(saved)
    costly_first = sorted(range(len(saved)), key=lambda step: -saved[step])
    orders = [zip(repeat(step), probing_order(budget.ratios[step][:-1], ratio)) for step in costly_first]
    rounds = filter(None, chain.from_iterable(zip_longest(*orders)))
    return [whole, *((*whole[:step], keep, *whole[step + 1 :]) for step, keep in islice(rounds, count - 1))]


def probing_order(ratios: Sequence[float], first: float) -> Iterator[float]:
    """Yield the ratios of a layer in the order to try them: near ``first``, then always far from those before."""
    distances = {keep: 1 - keep for keep in ratios}
    while distances:
        start = len(distances) == len(ratios)
        keep = (
            min(distances, key=lambda keep: abs(keep - first)) if start else max(distances, key=distances.__getitem__)
        )
        yield keep
        distances = {other: min(far, abs(other - keep)) for other, far in distances.items() if other != keep}


def below_threshold(budget: ResourceBudget, damages: Sequence[Sequence[float]], weights: Weights) -> Strategy:
    """Return the strategy of the smallest threshold within the limit: each layer keeps the least that stays below it.

    As the threshold falls, layers grow one after the other: where equal damages meet, the more pruned one first.

    Args:
        budget: the limit to meet.
        damages: for every layer the damage of each allowed ratio but 1, ratios ascending.
        weights: factors on the damages.
    """
    growth = [
        (-weight * damage, keep, step)
        for step, weight in enumerate(weights)
        for keep, damage in zip(budget.ratios[step], damages[step], strict=False)
    ]
    return fill(budget, [step for _, _, step in sorted(growth)])
