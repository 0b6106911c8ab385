"""One suite for every policy: a new one gets its tests by a row in POLICIES."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from amc.agent.policy import AMC
from baselines.random_search import RandomSearch
from baselines.uniform import Uniform
from envs.engine.analytic import AnalyticEngine
from envs.pruning_env import CONSTRAINTS, PruningEnv
from envs.search import RecordTrials, SearchPolicy, Trial

EPISODES = 12
POLICIES: dict[str, Callable[[int], SearchPolicy]] = {
    "uniform": lambda _: Uniform(),
    "random": RandomSearch,
    "amc": AMC,
}


def play(policy: SearchPolicy, constraint: str = "rescale", episodes: int = EPISODES) -> RecordTrials:
    env = RecordTrials(PruningEnv(AnalyticEngine(), constraint=constraint), episodes)
    policy.search(env)
    return env


def outcomes(trials: list[Trial]) -> list[tuple[object, ...]]:
    return [(trial.strategy, trial.reward) for trial in trials]


@pytest.mark.parametrize("name", POLICIES)
@pytest.mark.parametrize("constraint", CONSTRAINTS)
def test_every_trial_is_feasible_and_within_the_budget(name: str, constraint: str) -> None:
    env = play(POLICIES[name](0), constraint)
    assert len(env.trials) == (1 if name == "uniform" else EPISODES)
    assert all(trial.feasible for trial in env.trials)
    assert env.best.reward == max(trial.reward for trial in env.trials)


@pytest.mark.parametrize("name", POLICIES)
def test_same_seed_same_trials_whatever_was_drawn_before(name: str) -> None:
    first = play(POLICIES[name](3))
    np.random.seed(99)  # noqa: NPY002  the generator that stable-baselines3 draws from
    torch.manual_seed(99)
    assert outcomes(play(POLICIES[name](3)).trials) == outcomes(first.trials)


@pytest.mark.parametrize("name", ["random", "amc"])
def test_another_seed_gives_other_trials(name: str) -> None:
    assert outcomes(play(POLICIES[name](0)).trials) != outcomes(play(POLICIES[name](1)).trials)


@pytest.mark.parametrize("constraint", CONSTRAINTS)
def test_uniform_keeps_about_as_much_of_every_layer(constraint: str) -> None:
    env = play(Uniform(), constraint)
    engine = AnalyticEngine()
    steps = [(layer.choices[1] - layer.choices[0]) / layer.units for layer in engine.layers]
    strategy = env.best.strategy
    assert max(strategy) - min(strategy) <= 1.5 * max(steps)
    used, dense = env.best.cost.flops, engine.cost((1.0,) * len(engine.layers)).flops
    assert 0.45 < used / dense <= 0.5


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_amc_closes_most_of_the_gap_to_the_optimum_and_beats_random(seed: int) -> None:
    uniform = play(Uniform()).best.evaluation.metric
    optimum = AnalyticEngine().optimum(0.5).metric
    found = play(AMC(seed=seed), episodes=300).best.evaluation.metric
    rival = play(RandomSearch(seed=seed), episodes=300).best.evaluation.metric
    assert (found - uniform) / (optimum - uniform) >= 0.8
    assert found > rival
