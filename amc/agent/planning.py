"""Planning with what was learnt: looks through strategies near the best ones, and plays the most promising."""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from amc.agent.outcome import Array, OutcomeModel
from amc.agent.rules import Rules
from envs.cost_table import FloatArray, Places

FARTHEST = 4
"""Layers that a random move may change."""
REACH = 2
"""Places by which it changes each."""


@dataclass(frozen=True)
class Planner:
    """Climbs on what the critic says, from several strategies at once.

    Attributes:
        rules: what fits.
        features: what the critic sees of every place of every layer, ``(layers, places, features)``.
        rng: draws moves.
        moves: strategies looked at around each one.
        rounds: moves after each other.
    """

    rules: Rules
    features: FloatArray
    rng: np.random.Generator
    moves: int
    rounds: int

    def seen(self, places: Places) -> FloatArray:
        """Return what the critic sees of strategies ``(n, layers)``, ``(n, features)``."""
        return self.features[np.arange(places.shape[-1]), places].reshape(len(places), -1)

    def promise(self, critic: OutcomeModel, places: Places, bonus: float) -> Array:
        """Return what strategies promise: what they should bring, and a bonus for what is not known of them."""
        belief = critic(self.seen(places))
        promise: Array = belief.mean + bonus * belief.deviation
        return promise

    def plan(self, critic: OutcomeModel, starts: Places, played: Collection[bytes], bonus: float) -> Places | None:
        """Return the most promising strategy near some others that was not played, or none if all were.

        Args:
            critic: has learnt.
            starts: strategies to start from, ``(n, layers)``.
            played: of each its bytes.
            bonus: for what is not known, in standard deviations.
        """
        best, highest = None, -np.inf
        for start in starts:
            now, promise = start, -np.inf
            for _ in range(self.rounds):
                near = self.neighbours(now, played)
                if not len(near):
                    break
                promises = self.promise(critic, near, bonus)
                if promises.max() <= promise:
                    break
                now, promise = near[promises.argmax()], float(promises.max())
            if promise > highest:
                best, highest = now, promise
        return best

    def neighbours(self, places: Places, played: Collection[bytes]) -> Places:
        """Return strategies within the limit in which some layers keep more or less, ``(n, layers)``."""
        layers = len(places)
        unit = np.eye(layers, dtype=np.int64)
        swaps = (unit[:, None] - unit[None]).reshape(-1, layers)
        wide = np.zeros((self.moves, layers), dtype=np.int64)
        for _ in range(FARTHEST):
            which = self.rng.integers(layers, size=self.moves)
            wide[np.arange(self.moves), which] = self.rng.integers(-REACH, REACH + 1, size=self.moves)
        moves = np.concatenate([unit, swaps, wide])
        if len(moves) > self.moves:
            moves = moves[self.rng.choice(len(moves), self.moves, replace=False)]
        near = np.unique((places + moves).clip(self.rules.lowest, self.rules.highest), axis=0)
        near = near[self.rules.fits(near)]
        return near[[each.tobytes() not in played for each in near]]

    def filled(self, critic: OutcomeModel, places: Places) -> Places:
        """Let the layers of a strategy grow, those that promise most first, until none fits: that is executed as it is."""
        while True:
            grown = places + np.eye(len(places), dtype=np.int64)
            grown = grown[(grown <= self.rules.highest).all(-1)]
            grown = grown[self.rules.fits(grown)] if len(grown) else grown
            if not len(grown):
                return places
            places = grown[critic(self.seen(grown)).mean.argmax()]
