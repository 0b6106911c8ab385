"""Exploration of the AMC paper: uniform warm-up, then a truncated normal that narrows with every episode."""

import math
import sys
from dataclasses import dataclass

import numpy as np
from scipy.special import log_ndtr, ndtri_exp

from envs.engine.fields import Interval

SPREADS = Interval(0, 10, low_open=True)
"""Standard deviations that exploration may have; ratios are from 0 to 1."""
NEGLIGIBLE = 1e-6
# Above 0, of which there is no logarithm.
TINY = sys.float_info.min


@dataclass(frozen=True)
class Exploration:
    """How far actions stray from what the actor says.

    Attributes:
        warm_up: episodes of uniformly random actions.
        sigma: standard deviation of the first episode after them.
        decay: factor on it from one episode to the next.

    Raises:
        ValueError: a value is out of range.

    References:
        He et al., 2018, "AMC: AutoML for Model Compression and Acceleration on Mobile Devices", section 3.2.
    """

    warm_up: int
    sigma: float
    decay: float

    def __post_init__(self) -> None:
        if self.warm_up < 0 or self.sigma < 0 or not 0 < self.decay <= 1:
            raise ValueError(f"{self}: needs warm_up >= 0, sigma >= 0 and decay in (0, 1]")

    def sigma_at(self, episode: int) -> float:
        """Return the standard deviation in an episode after the warm-up."""
        return self.sigma * self.decay ** max(0, episode - self.warm_up)


def check_narrowing(sigma: float, sigma_end: float) -> None:
    """Refuse an exploration that does not narrow.

    Raises:
        ValueError: ``sigma_end`` is not above 0, or above ``sigma``.
    """
    if not 0 < sigma_end <= sigma:
        raise ValueError(f"sigma_end={sigma_end}: must be above 0 and at most sigma={sigma}")


def narrowing(sigma: float, sigma_end: float, warm_up: int, episodes: int) -> Exploration:
    """Return the exploration that starts at ``sigma`` after the warm-up and is at ``sigma_end`` in the last episode."""
    decay = (sigma_end / sigma) ** (1 / max(1, episodes - warm_up - 1))
    return Exploration(warm_up, sigma, decay)


def truncated_normal(mean: float, sigma: float, low: float, high: float, rng: np.random.Generator) -> float:
    """Draw from a normal distribution cut to [low, high], by inversion of its distribution function.

    It is ``scipy.stats.truncnorm.ppf`` of a uniform number, which takes 0.4 ms a draw and a second to import, against
    some microseconds. Logarithms keep it exact where the cut is far from the mean.
    """
    if sigma < NEGLIGIBLE:
        return min(max(mean, low), high)
    left, right, share = (low - mean) / sigma, (high - mean) / sigma, float(rng.uniform())
    if left > 0:
        # The upper tail is the lower one's mirror image, and only the lower one has small probabilities.
        return min(max(mean - sigma * _standard(-right, -left, 1 - share), low), high)
    return min(max(mean + sigma * _standard(left, right, share), low), high)


def _standard(left: float, right: float, share: float) -> float:
    """Return the quantile of the standard normal cut to [left, right] below which a ``share`` of it lies."""
    below_left, below_right = float(log_ndtr(left)), float(log_ndtr(right))
    return float(ndtri_exp(below_right + math.log((1 - share) * math.exp(below_left - below_right) + share or TINY)))
