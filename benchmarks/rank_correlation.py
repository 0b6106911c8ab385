"""How well one ranking tells another: Spearman's correlation over all and among the better half, by the bootstrap.

References:
    Spearman, 1904, "The proof and measurement of association between two things".
    Efron and Tibshirani, 1993, "An Introduction to the Bootstrap", the percentile interval.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

Values = NDArray[np.float64]
RESAMPLES = 2000
CONFIDENCE = 0.95


class Ranking(NamedTuple):
    """Rank correlations of a reward with what fine-tuning gave.

    Attributes:
        all: over all strategies.
        half: among the half of them that was best after fine-tuning.
    """

    all: float
    half: float


def spearman(x: Values, y: Values) -> float:
    """Return Spearman's rank correlation of two columns, ties at their mean rank; 0 where a column is constant.

    A reward that is the same for all strategies tells nothing apart.
    """
    a, b = (rankdata(column) - (len(column) + 1) / 2 for column in (x, y))
    norm = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / norm if norm else 0.0


def better_half(after: Values) -> NDArray[np.int64]:
    """Return the numbers of the ``len // 2`` highest values, the earlier of equal ones first."""
    return np.argsort(-after, kind="stable")[: len(after) // 2]


def ranking(reward: Values, after: Values) -> Ranking:
    """Return how well ``reward`` ranks strategies whose accuracy after fine-tuning is ``after``."""
    half = better_half(after)
    return Ranking(spearman(reward, after), spearman(reward[half], after[half]))


def resampled(reward: Values, after: Values, seed: int) -> Values:
    """Return ``ranking`` of samples of strategies drawn with replacement, shape ``(RESAMPLES, 2)``.

    The same seed draws the same samples, so that two rewards can be compared sample by sample. The better half is
    found anew in each.
    """
    rng, count = np.random.default_rng(seed), len(after)
    drawn = (rng.integers(count, size=count) for _ in range(RESAMPLES))
    return np.array([ranking(reward[sample], after[sample]) for sample in drawn])


def interval(values: Values) -> list[float]:
    """Return the percentile interval of resampled values."""
    tail = (1 - CONFIDENCE) / 2
    return [round(float(bound), 3) for bound in np.quantile(values, [tail, 1 - tail])]
