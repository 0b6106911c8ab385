"""AMC's game played by planning: the rules are known, so only what an episode brings has to be learnt."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from amc.agent.outcome import Array, OutcomeModel
from amc.agent.planning import Planner
from amc.agent.rules import Rules
from baselines.known_strategies import known_strategies
from envs.cost_table import FloatArray
from envs.engine.fields import Interval, check_settings, setting
from envs.engine.settings import SEEDS
from envs.engine.types import Strategy
from envs.search import RecordTrials, play_strategy


@dataclass(frozen=True)
class PlanningAMC:
    """Learns a critic of whole strategies, and plays what planning with it promises."""

    needs: ClassVar[Mapping[str, object]] = {}

    seed: int = setting(0, SEEDS)
    moves: int = setting(400, Interval(1, 10**6))
    rounds: int = setting(6, Interval(1, 10**4))
    starts: int = setting(3, Interval(1, 10**4))
    bonus: float = setting(1.0, Interval(0, 100))
    spread: float = 0.2
    first: int = 4
    loss_weight: float = 0.0
    feat: str = "sqrt"

    def __post_init__(self) -> None:
        check_settings(self)

    def search(self, env: RecordTrials) -> None:
        rng = np.random.default_rng(self.seed)
        rules = Rules(env.problem.budget)
        planner = Planner(rules, self.features(rules), rng, self.moves, self.rounds)
        for strategy in self._first(env, rng):
            if not env.remaining:
                return
            play_strategy(env, strategy)
        critic = OutcomeModel()
        places = [rules.places_of(trial.strategy) for trial in env.trials]
        fitted = 0
        while env.remaining:
            outcomes = self._outcomes(env)
            settle = len(places) >= 1.3 * fitted
            fitted = len(places) if settle else fitted
            seen = planner.seen(np.array(places))
            critic.fit(seen, outcomes, settle)
            believed = critic(seen).mean
            best = np.array(places)[np.argsort(-believed)[: self.starts]]
            played = {each.tobytes() for each in places}
            bonus = self.bonus * rng.random() * min(1.0, 2 * env.remaining / (env.remaining + len(places)))
            found = planner.plan(critic, best, played, bonus)
            if found is None:
                return
            found = planner.filled(critic, found)
            trial = play_strategy(env, rules.strategy_of(found))
            places.append(rules.places_of(trial.strategy))

    def features(self, rules: Rules) -> FloatArray:
        damage, r = rules.damage(), rules.ratios
        tables = {"sqrt": [np.sqrt(damage)], "e": [damage], "both": [np.sqrt(damage), damage], "r": [1-r], "all": [np.sqrt(damage), damage, 1-r], "sr": [np.sqrt(damage), 1-r],
          "log": [np.log1p(damage/0.01)/5]}
        return np.stack(tables[self.feat], -1)

    def _outcomes(self, env: RecordTrials) -> Array:
        rewards = np.array([trial.reward for trial in env.trials])
        if not self.loss_weight:
            return rewards
        losses = -np.log([trial.evaluation.loss for trial in env.trials])
        z = lambda v: (v - v.mean()) / (v.std() or 1)
        return z(rewards) * (1 - self.loss_weight) + self.loss_weight * z(losses)

    def _first(self, env: RecordTrials, rng: np.random.Generator) -> Iterator[Strategy]:
        known = known_strategies(env.problem)
        yield from known.values()
        for _ in range(self.first):
            near = np.array(env.best.strategy) * np.exp(self.spread * rng.standard_normal(len(env.best.strategy)))
            yield tuple(near.clip(env.problem.budget.min_keep, 1).tolist())
