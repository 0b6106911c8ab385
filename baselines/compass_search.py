"""Compass search over the weights of layers, by one process or with workers."""

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import chain

from envs.engine.types import Strategy
from envs.search import RecordTrials, Trial, quality

Weights = tuple[float, ...]
"""What the damage of each layer is multiplied by."""

FIRST_FACTOR, LAST_FACTOR = 2.0, 1.05


class WeightPlayer:
    """Plays the strategies of weights, none of them twice.

    Args:
        env: the referee.
        strategy_of: of some weights.
        ahead: strategies that are asked for before the first of them is known.
        uniform: the trial of before.

    Attributes:
        ahead: as above.
    """

    def __init__(
        self, env: RecordTrials, strategy_of: Callable[[Weights], Strategy], ahead: int, uniform: Trial
    ) -> None:
        self._env, self._strategy_of, self.ahead = env, strategy_of, ahead
        self._played: dict[Strategy, Trial] = {uniform.strategy: uniform}

    def play(self, wanted: Iterable[Weights], learn: Callable[[Weights, Trial], None]) -> None:
        """Play until nothing more is wanted, or no episode is left.

        Args:
            wanted: taken as late as possible.
            learn: told the trial of each, at once where it was played before.
        """
        asked: dict[Strategy, list[Weights]] = {}
        order: deque[Strategy] = deque()

        def strategies() -> Iterator[Strategy]:
            for weights in wanted:
                strategy = self._strategy_of(weights)
                if strategy in self._played:
                    learn(weights, self._played[strategy])
                elif strategy in asked:
                    asked[strategy].append(weights)
                else:
                    asked[strategy] = [weights]
                    order.append(strategy)
                    yield strategy

        for trial in self._env.play_ahead(strategies(), self.ahead):
            strategy = order.popleft()
            self._played[strategy] = trial
            for weights in asked.pop(strategy):
                learn(weights, trial)


class CompassSearch:
    """Improves weights one at a time by a factor and its inverse; where none helps, by the square root of the factor.

    With workers the moves of a round start from the best weights that are known when they are made, and a round goes on
    to smaller factors, before it is known that the larger ones do not help, for as long as a worker has nothing to do.

    Args:
        weights: to start from.
        best: their trial.

    References:
        Kolda et al., 2003, "Optimization by Direct Search", SIAM Review 45 (3).
        Hough et al., 2001, "Asynchronous Parallel Pattern Search for Nonlinear Optimization", SIAM Journal on
        Scientific Computing 23 (1).
    """

    def __init__(self, weights: Weights, best: Trial) -> None:
        self._weights, self._best = weights, best
        self._moved: dict[Weights, int] = {}
        self._improved: set[int] = set()

    def run(self, player: WeightPlayer) -> None:
        """Play until the factor is next to nothing, or no episode is left."""
        factor = FIRST_FACTOR
        while factor > LAST_FACTOR:
            before = self._best
            self._improved.clear()
            factors = self._factors(factor, player.ahead)
            player.play(chain.from_iterable(map(self._moves, factors)), self._learn)
            if self._best is before:
                factor = math.sqrt(factors[-1])

    def _factors(self, factor: float, ahead: int) -> list[float]:
        """Return the factors of a round: as many as it takes for so many moves."""
        factors = [factor]
        while 2 * len(self._weights) * len(factors) < ahead and (factor := math.sqrt(factor)) > LAST_FACTOR:
            factors.append(factor)
        return factors

    def _moves(self, factor: float) -> Iterator[Weights]:
        for step in range(len(self._weights)):
            for by in (factor, 1 / factor):
                if step not in self._improved:
                    weights = self._weights
                    moved = (*weights[:step], weights[step] * by, *weights[step + 1 :])
                    self._moved[moved] = step
                    yield moved

    def _learn(self, weights: Weights, trial: Trial) -> None:
        if quality(trial) > quality(self._best):
            self._best, self._weights = trial, weights
            self._improved.add(self._moved[weights])
