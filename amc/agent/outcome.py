"""What the agent believes an episode will bring: a Gaussian process over whole strategies."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve, cholesky, solve_triangular
from scipy.spatial.distance import cdist

Array = NDArray[np.float64]

JITTER = 1e-6
ROOT5 = 5**0.5
FACTOR = 2.0
"""By which the settings of the process are changed at first, and less and less."""
LAST_FACTOR = 1.2
RANGES = ((1e-3, 1e3), (1e-3, 1e3), (1e-2, 1e2), (1e-4, 1.0))
"""Of the settings."""


class Kernel(NamedTuple):
    """How alike the outcomes of two strategies are.

    Attributes:
        linear: variance of what adds up over layers.
        curved: variance of what does not.
        length: distance in the features at which outcomes become independent.
        noise: variance of what no feature tells.
    """

    linear: float = 1.0
    curved: float = 0.3
    length: float = 1.0
    noise: float = 0.01

    def between(self, some: Array, others: Array) -> Array:
        """Return the covariances of outcomes, without noise, ``(n, m)``."""
        far = cdist(some, others) * (ROOT5 / self.length)
        curved = (1 + far + far**2 / 3) * np.exp(-far)
        covariances: Array = self.linear * (some @ others.T) + self.curved * curved
        return covariances

    def of_each(self, some: Array) -> Array:
        """Return the variance of each outcome, without noise, ``(n,)``."""
        variances: Array = self.linear * (some**2).sum(-1) + self.curved
        return variances


class Belief(NamedTuple):
    """What is believed of strategies: mean and standard deviation of their outcomes, ``(n,)`` each."""

    mean: Array
    deviation: Array


class OutcomeModel:
    """The critic: learns from episodes what a strategy brings, and how sure that is.

    Outcomes are standardized. What adds up over the layers is linear in the features, the rest smooth in them
    (a Matern kernel).

    Args:
        kernel: to start from.

    References:
        Rasmussen and Williams, 2006, "Gaussian Processes for Machine Learning", algorithm 2.1.
    """

    def __init__(self, kernel: Kernel | None = None) -> None:
        self.kernel = kernel or Kernel()

    def fit(self, features: Array, outcomes: Array, settle: bool) -> None:
        """Condition on episodes.

        Args:
            features: of their strategies, ``(n, features)``.
            outcomes: ``(n,)``.
            settle: also choose the kernel anew, by the likelihood.
        """
        self._centre, self._scale = float(outcomes.mean()), float(outcomes.std()) or 1.0
        self._origin = features.mean(0)
        self._seen = features - self._origin
        wanted = (outcomes - self._centre) / self._scale
        if settle:
            self.kernel = _settled(self.kernel, self._seen, wanted)
        self._factor = _factor(self.kernel, self._seen)
        self._weights = cho_solve((self._factor, True), wanted)

    def __call__(self, features: Array) -> Belief:
        """Return what is believed of other strategies."""
        others = features - self._origin
        covariances = self.kernel.between(others, self._seen)
        known = solve_triangular(self._factor, covariances.T, lower=True, check_finite=False)
        left = np.maximum(self.kernel.of_each(others) - (known**2).sum(0), JITTER)
        return Belief(covariances @ self._weights * self._scale + self._centre, np.sqrt(left) * self._scale)


def _factor(kernel: Kernel, seen: Array) -> Array:
    covariances = kernel.between(seen, seen)
    covariances.flat[:: len(seen) + 1] += kernel.noise + JITTER
    factor: Array = cholesky(covariances, lower=True, check_finite=False)
    return factor


def _likelihood(kernel: Kernel, seen: Array, wanted: Array) -> float:
    factor = _factor(kernel, seen)
    white = solve_triangular(factor, wanted, lower=True, check_finite=False)
    return float(-0.5 * white @ white - np.log(np.diag(factor)).sum())


def _settled(kernel: Kernel, seen: Array, wanted: Array) -> Kernel:
    """Return the kernel of highest likelihood that a compass search finds from another one."""
    best, highest, factor = kernel, _likelihood(kernel, seen, wanted), FACTOR
    while factor > LAST_FACTOR:
        before = highest
        for place, (low, high) in enumerate(RANGES):
            for by in (factor, 1 / factor):
                values = list(best)
                values[place] = min(max(values[place] * by, low), high)
                likelihood = _likelihood(tried := Kernel(*values), seen, wanted)
                if likelihood > highest:
                    best, highest = tried, likelihood
                    break
        if highest == before:
            factor **= 0.5
    return best
