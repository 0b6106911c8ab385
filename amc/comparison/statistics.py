"""Statistics over a handful of seeds: intervals, paired tests, rank correlation, and how fast a search was.

References:
    Efron and Tibshirani, 1993, "An Introduction to the Bootstrap".
    Agarwal et al., 2021, "Deep Reinforcement Learning at the Edge of the Statistical Precipice".
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from envs.pareto import undominated
from envs.search import Trial, better

RESAMPLES = 9999
CONFIDENCE = 0.95
FEWEST_RANKED = 4


class Estimate(NamedTuple):
    """A mean over ``n`` seeds with its 95% interval; no interval where one seed, or equal values, give none."""

    mean: float
    low: float | None
    high: float | None
    n: int


class Paired(NamedTuple):
    """A policy against another over the ``n`` seeds that both have.

    Attributes:
        n: pairs.
        difference: mean over the pairs, with its interval.
        p: two-sided, of the sign-flip permutation test; none for a single pair.
        smallest_p: what ``p`` is at least, with so few pairs.
    """

    n: int
    difference: Estimate
    p: float | None
    smallest_p: float


class Reached(NamedTuple):
    """How soon a threshold was reached: by how many of ``seeds``, and after how much by those that did."""

    by: int
    seeds: int
    evaluations: Estimate | None
    seconds: Estimate | None


class Correlation(NamedTuple):
    """Spearman's rank correlation of ``n`` pairs; none where a side is constant."""

    rho: float | None
    n: int


def estimate(values: Sequence[float]) -> Estimate:
    """Return the mean and its bootstrap percentile interval.

    Raises:
        ValueError: there are no values.
    """
    if not values:
        raise ValueError("no values to take a mean of")
    mean = math.fsum(values) / len(values)
    if len(set(values)) == 1:
        return Estimate(values[0], None, None, len(values))
    interval = stats.bootstrap(
        (values,),
        np.mean,
        n_resamples=RESAMPLES,
        confidence_level=CONFIDENCE,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    return Estimate(mean, float(interval.low), float(interval.high), len(values))


def paired(values: Sequence[float], others: Sequence[float]) -> Paired:
    """Compare two policies seed by seed: is the mean difference more than its signs' chance?

    Exact up to 13 pairs, by 9999 random sign flips beyond.

    Raises:
        ValueError: there are no pairs, or the lengths differ.
    """
    differences = [value - other for value, other in zip(values, others, strict=True)]
    n = len(differences)
    p = None
    if n > 1:
        largest = max(map(abs, differences)) or 1.0
        test = stats.permutation_test(
            (np.array(differences) / largest,),
            _rounded_mean,
            permutation_type="samples",
            n_resamples=RESAMPLES,
            rng=np.random.default_rng(0),
        )
        p = float(test.pvalue)
    return Paired(n, estimate(differences), p, min(1.0, 2.0 ** (1 - n)))


def _rounded_mean(sample: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    # Sums that are equal on paper must be equal here, or the flips that tie with the sample are not counted.
    return np.asarray(np.mean(sample, axis=axis)).round(9)


def best_metrics(trials: Sequence[Trial]) -> list[float]:
    """Return, after each evaluation, the search metric of the best trial within the target; ``nan`` before the first.

    Best is what the search maximises: the reward, and the loss where rewards tie.
    """
    metrics: list[float] = []
    best: Trial | None = None
    for trial in trials:
        best = better(trial, best)
        metrics.append(math.nan if best is None else best.evaluation.metric)
    return metrics


def threshold(best: float, share: float = 0.99) -> float:
    """Return what counts as reached: ``share`` of ``best``, also below it where metrics are negative."""
    return best - (1 - share) * abs(best)


def reached(searches: Sequence[Sequence[Trial]], metric: float) -> Reached:
    """Return how soon the best so far of each search was at least ``metric``."""
    evaluations: list[float] = []
    seconds: list[float] = []
    for trials in searches:
        first = next((index for index, value in enumerate(best_metrics(trials)) if value >= metric), None)
        if first is not None:
            evaluations.append(first + 1)
            seconds.append(math.fsum(trial.seconds for trial in trials[: first + 1]))
    timed = bool(seconds) and all(math.isfinite(value) for value in seconds)
    return Reached(
        len(evaluations),
        len(searches),
        estimate(evaluations) if evaluations else None,
        estimate(seconds) if timed else None,
    )


def rank_correlation(pairs: Sequence[tuple[float, float]]) -> Correlation | None:
    """Return Spearman's rank correlation; none for fewer than four pairs."""
    if len(pairs) < FEWEST_RANKED:
        return None
    before, after = zip(*pairs, strict=True)
    if len(set(before)) == 1 or len(set(after)) == 1:
        return Correlation(None, len(pairs))
    return Correlation(float(stats.spearmanr(before, after).statistic), len(pairs))


def pareto(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the (cost, metric) points that no other beats: cheaper to dearer, and each better than the one before."""
    return undominated(points, lambda point: point)
