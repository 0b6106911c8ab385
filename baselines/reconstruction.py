"""Ratios by what least squares cannot repair: a good strategy before the first evaluation, then a local search."""

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from baselines.least_error import NEEDS, LeastError
from envs.engine.fields import Interval, check_settings, setting
from envs.engine.settings import AHEAD, SEEDS
from envs.engine.types import Strategy
from envs.search import RecordTrials, Trial, quality

Logs = NDArray[np.float64]
"""Logarithm of every layer's weight."""

TRIES, FEW_TRIES = 50, 10
"""Draws for a strategy that was not played yet; for one that differs in one weight, while others are on the way."""
GROWTH = 1.05
"""How much further each of them strays than the one before."""
LARGEST = 30.0
"""Logarithm of a weight beside which all others count nothing."""


@dataclass(frozen=True)
class Reconstruction:
    """Plays the strategy of least predicted error, then strategies near the best so far.

    The engine knows for each layer and each number of kept channels the share of the layer's output that least
    squares cannot restore. Added up they say nothing of how errors travel through the network. So the local search
    looks for a weight on each layer's error: it changes one of the best strategy's weights, lets ``LeastError``
    find the ratios, which moves all layers at once within the target, and keeps what scores better. On networks in
    closed form, their errors distorted so that the first strategy closed 0.67 of the gap from uniform ratios to the
    optimum, that closed 0.95 in 60 episodes, with steps of 0.7 and of 1.2 (0.92 with 0.4); moving one or two layers'
    ratios themselves and making up for it along the least error closed 0.83, and changing up to two or four weights
    at a time 0.91 (means of two networks and three seeds).

    On MobileNet-V1 and 1,000 images of Fashion-MNIST, dense 0.915, the first strategy scored 0.906 at a fifth of the
    FLOPs and 0.859 at a tenth, where uniform ratios scored 0.893 and 0.773; the best of 30 scored 0.913 and 0.876.
    On ResNet-20, dense 0.918, the first was no better than uniform ratios at 0.3 of the FLOPs (0.884, 0.886), and
    better at 0.15 (0.623, 0.543); the best of 15 scored 0.900 and 0.773.

    Attributes:
        seed: the same seed gives the same trials.
        local_search: spend the remaining episodes; without it one episode is played.
        step: standard deviation of the change of a weight's logarithm.
        at_once: proposals made before the first of them is known, so that workers have something to do; null for two a
            worker, 1 without any. Trials depend on it: the best so far is then the best of those that are known.

    Raises:
        ValueError: a value is out of range.
    """

    needs: ClassVar[Mapping[str, object]] = NEEDS

    seed: int = setting(0, SEEDS)
    local_search: bool = True
    step: float = setting(1.0, Interval(0, 100, low_open=True))
    at_once: int | None = setting(None, AHEAD)

    def __post_init__(self) -> None:
        check_settings(self)

    def search(self, env: RecordTrials) -> None:
        """Play until no episode is left, or until no new strategy is found.

        Raises:
            ValueError: the engine does not know its reconstruction error.
        """
        nearby = WeightSearch(LeastError(env.problem.budget), np.random.default_rng(self.seed), self.step)
        proposals = iter(nearby.propose, None)
        wanted = proposals if self.local_search else islice(proposals, 1)
        for trial in env.play_ahead(wanted, self.at_once or env.problem.ahead):
            nearby.learn(trial)


class WeightSearch:
    """The local search by itself: what to play next, and what came of it.

    Args:
        least: finds the strategy of some weights.
        rng: draws changes.
        step: standard deviation of the change of a weight's logarithm.
    """

    def __init__(self, least: LeastError, rng: np.random.Generator, step: float) -> None:
        self._least, self._rng, self._step = least, rng, step
        self._logs: Logs = np.zeros(least.layers)
        self._tried: deque[Logs] = deque()
        self._best: Trial | None = None
        self._proposed: set[Strategy] = set()

    def propose(self) -> Strategy | None:
        """Return the strategy of least error, then others near the best; none where ``TRIES`` draws gave no new one."""
        tried = self._logs
        # Where many are on the way, all that differs in one weight soon is: then all weights are changed.
        alone = FEW_TRIES if self._tried else TRIES
        for attempt in range(alone + TRIES if self._tried else TRIES):
            if attempt >= alone:
                tried = self._logs + self._step * self._rng.standard_normal(len(self._logs))
            elif self._proposed:
                tried = perturbed(self._logs, self._step * GROWTH**attempt, self._rng)
            strategy = self._least.strategy(np.exp(tried))
            if strategy not in self._proposed:
                self._proposed.add(strategy)
                self._tried.append(tried)
                return strategy
        return None

    def learn(self, trial: Trial) -> None:
        """Go on from the first proposal of which nothing is known yet, if its trial is the best."""
        tried = self._tried.popleft()
        if self._best is None or quality(trial) > quality(self._best):
            self._best, self._logs = trial, tried


def strategies_nearby(env: RecordTrials, rng: np.random.Generator, step: float = 1.0) -> Iterator[Strategy]:
    """Yield what the local search would play next, as long as it finds anything new; each is played before the next.

    Args:
        env: it may hold trials already, such as that of least error, which then is not played again.
        rng: draws changes.
        step: standard deviation of the change of a weight's logarithm.
    """
    nearby = WeightSearch(LeastError(env.problem.budget), rng, step)
    played = {trial.strategy: trial for trial in env.trials}
    while (strategy := nearby.propose()) is not None:
        if strategy not in played:
            yield strategy
            played[strategy] = env.trials[-1]
        nearby.learn(played[strategy])


def perturbed(logs: Logs, step: float, rng: np.random.Generator) -> Logs:
    """Return weights of which one differs, by a normal step of its logarithm."""
    changed = logs.copy()
    changed[rng.integers(len(logs))] += step * rng.standard_normal()
    return changed.clip(-LARGEST, LARGEST)
