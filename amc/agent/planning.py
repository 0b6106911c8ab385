"""Planning: the rules of the game are known, so the agent looks ahead before it plays, and learns what episodes bring.

With workers several plans are made at a time: what is on the way counts as come out as expected.

References:
    Chua et al., 2018, "Deep Reinforcement Learning in a Handful of Trials using Probabilistic Dynamics Models",
    arXiv 1805.12114: learn a model that knows what it does not know, plan with it, play the plan, learn from it.
    Desautels et al., 2014, "Parallelizing Exploration-Exploitation Tradeoffs in Gaussian Process Bandit Optimization",
    Journal of Machine Learning Research 15: expected outcomes stand in for those that are not known yet.
"""

from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from threadpoolctl import ThreadpoolController

from amc.agent.outcome import Array, OutcomeModel
from amc.agent.rules import Rules
from baselines.least_error import as_compounded
from envs.constraint import ResourceBudget, rescale
from envs.costs.cost_table import FloatArray, Places
from envs.engine.types import Strategy
from envs.search import RecordTrials
from envs.trial import Trial

FARTHEST = 4
"""Layers that a random move may change."""
REACH = 2
"""Places by which it changes each."""
MOVES = 200
"""Strategies looked at around each one."""
ROUNDS = 2
"""Moves after each other."""
STARTS = 3
"""Strategies from which plans start: those that the critic takes for the best of those played."""
SETTLED = 1.3
"""Factor on the number of episodes after which the critic's kernel is chosen anew."""
TRIES = 20
"""Draws for a strategy that is not on the way already."""
NEAR = 0.2
"""Standard deviation of the logarithms of ratios of what is played where all that is near was played already."""


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
        """Return what the critic sees of strategies ``(n, layers)``: features layer by layer, and their sums.

        The sums have the critic suppose, before it knows any layer, that all count alike.
        """
        each = self.features[np.arange(places.shape[-1]), places]
        return np.concatenate([each.reshape(len(places), -1), each.sum(1)], axis=1)

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
        near = (places + moves).clip(self.rules.lowest, self.rules.highest)
        near = near[self.rules.fits(near)]
        return near[[each.tobytes() not in played for each in near]]

    def filled(self, critic: OutcomeModel, places: Places) -> Places:
        """Let layers of a strategy grow, those that promise most first, until none fits: so it is executed as it is."""
        while True:
            grown = places + np.eye(len(places), dtype=np.int64)
            grown = grown[(grown <= self.rules.highest).all(-1)]
            grown = grown[self.rules.fits(grown)] if len(grown) else grown
            if not len(grown):
                return places
            places = grown[critic(self.seen(grown)).mean.argmax()]


def ratios_alone(rules: Rules) -> FloatArray:
    """Return how much of every layer goes at every place, ``(layers, places, 1)``, as the paper has it."""
    return 1 - rules.ratios[..., None]


def informed(rules: Rules) -> FloatArray:
    """Return what is known of every place of every layer before any episode, ``(layers, places, features)``."""
    damage = rules.damage()
    return np.stack([np.array([as_compounded(errors) for errors in damage.tolist()]), damage], axis=-1)


OBSERVATIONS: dict[str, Callable[[Rules], FloatArray]] = {"informed": informed, "paper": ratios_alone}
"""What a critic sees of layers."""


class PlanningAgent:
    """Learns what strategies bring, and says which to play next.

    Args:
        budget: what strategies have to fit.
        observation: a key of ``OBSERVATIONS``.
        bonus: at most, for what is not known of a strategy, in standard deviations of what it may bring.
        rng: draws moves and bonuses.
    """

    def __init__(self, budget: ResourceBudget, observation: str, bonus: float, rng: np.random.Generator) -> None:
        self._rules = Rules(budget)
        self._planner = Planner(self._rules, OBSERVATIONS[observation](self._rules), rng, MOVES, ROUNDS)
        self._critic = OutcomeModel()
        self._settled = 0.0
        self._bonus = bonus
        self._budget = budget
        self._rng = rng

    def choose(self, trials: Sequence[Trial], pending: Iterable[Strategy] = ()) -> Strategy:
        """Return the strategy to play after some others, one of which is feasible.

        Args:
            trials: of those others.
            pending: what is being evaluated. It is taken to come out as it should: so what lies near it is no news,
                and others are tried.
        """
        places = np.array([self._rules.places_of(trial.strategy) for trial in trials])
        rewards = np.array([trial.reward for trial in trials])
        self._learn(places, rewards)
        feasible = places[[trial.feasible for trial in trials]]
        awaited = [self._rules.places_of(strategy) for strategy in pending]
        if awaited:
            guessed = self._critic(self._planner.seen(np.array(awaited))).mean
            places = np.concatenate([places, np.array(awaited)])
            self._critic.fit(self._planner.seen(places), np.concatenate([rewards, guessed]), settle=False)
        starts = feasible[np.argsort(-self._critic(self._planner.seen(feasible)).mean, kind="stable")[:STARTS]]
        played = {each.tobytes() for each in places}
        found = self._planner.plan(self._critic, starts, played, self._bonus * self._rng.random())
        if found is None:
            return self._anything(self._rules.strategy_of(starts[0]))
        filled = self._planner.filled(self._critic, found)
        strategy = self._rules.strategy_of(filled)
        for _ in range(TRIES if awaited else 0):
            if self._rules.places_of(strategy).tobytes() not in played:
                break
            strategy = self._anything(strategy)
        return strategy

    def _learn(self, places: Places, rewards: Array) -> None:
        settle = len(places) >= SETTLED * self._settled
        self._settled = len(places) if settle else self._settled
        self._critic.fit(self._planner.seen(places), rewards, settle)

    def _anything(self, near: Strategy) -> Strategy:
        ratios = np.array(near) * np.exp(NEAR * self._rng.standard_normal(len(near)))
        return rescale(self._budget, tuple(ratios.clip(self._budget.min_keep, 1).tolist()))


def play_planned(env: RecordTrials, agent: PlanningAgent, ahead: int) -> None:
    """Play the episodes that are left: learn from those before, plan, play the plan.

    The agent computes with one thread, as its matrices are so small that a second one only costs.

    Args:
        env: an episode was played.
        agent: plans.
        ahead: plans that are made before the first of them was played.
    """
    threads = ThreadpoolController()
    pending: deque[Strategy] = deque()

    def plans() -> Iterator[Strategy]:
        while True:
            with threads.limit(limits=1, user_api="blas"):
                pending.append(agent.choose(env.trials, pending))
            yield pending[-1]

    for _ in env.play_ahead(plans(), ahead):
        pending.popleft()
