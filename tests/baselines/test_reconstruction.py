from dataclasses import dataclass

import numpy as np
import pytest

from baselines.least_error import LeastError
from baselines.reconstruction import Reconstruction
from envs.engine.analytic import AnalyticEngine, Block
from envs.engine.types import Cost, Evaluation, Layer, Strategy
from envs.pruning_env import CONSTRAINTS, PruningEnv
from envs.search import RecordTrials

ENGINE = AnalyticEngine()


@dataclass(frozen=True)
class Misjudging:
    """Knows its layers' errors up to a factor of each, as a network does whose errors travel."""

    seed: int

    @property
    def layers(self) -> tuple[Layer, ...]:
        return ENGINE.layers

    def cost(self, strategy: Strategy) -> Cost:
        return ENGINE.cost(strategy)

    def evaluate(self, strategy: Strategy) -> Evaluation:
        return ENGINE.evaluate(strategy)

    def reconstruction_error(self, step: int) -> tuple[float, ...]:
        factors = np.exp(0.7 * np.random.default_rng(self.seed).standard_normal(len(ENGINE.layers)))
        return tuple(float(factors[step]) * error for error in ENGINE.reconstruction_error(step))


def play(policy: Reconstruction, seed: int = 0, constraint: str = "rescale", episodes: int = 30) -> RecordTrials:
    env = RecordTrials(PruningEnv(Misjudging(seed), constraint=constraint), episodes)
    policy.search(env)
    return env


@pytest.mark.parametrize("constraint", CONSTRAINTS)
def test_the_first_strategy_is_that_of_least_error_and_without_a_search_the_only_one(constraint: str) -> None:
    env = play(Reconstruction(local_search=False), constraint=constraint)
    assert [trial.strategy for trial in env.trials] == [LeastError(env.problem.budget).strategy()]


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (1, 2, 3))])
def test_the_local_search_makes_up_for_misjudged_layers(seed: int) -> None:
    metrics = [trial.evaluation.metric for trial in play(Reconstruction(seed), seed, episodes=60).trials]
    assert ENGINE.optimum(0.5).metric - max(metrics) < 0.5 * (ENGINE.optimum(0.5).metric - metrics[0])


def test_no_strategy_is_played_twice_and_constraints_make_no_difference() -> None:
    played = [[trial.strategy for trial in play(Reconstruction(2), constraint=name).trials] for name in CONSTRAINTS]
    assert played[0] == played[1]
    assert len(set(played[0])) == len(played[0]) == 30


def test_a_search_without_new_strategies_ends() -> None:
    engine = AnalyticEngine(blocks=(Block(8, 4, 1, 1, 0.5), Block(8, 4, 1, 1, 0.5)))
    env = RecordTrials(PruningEnv(engine, target=0.6), 20)
    Reconstruction().search(env)
    assert 1 <= len(env.trials) < 20


def test_a_step_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="step=0"):
        Reconstruction(step=0.0)
