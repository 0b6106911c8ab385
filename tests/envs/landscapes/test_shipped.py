"""The landscapes that are shipped, as users make them."""

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import envs
from baselines.known_strategies import known_strategies
from envs.landscapes.files import landscape_names, read_landscape
from envs.landscapes.making import make_bench
from envs.pruning_env import PruningEnv

gymnasium.register_envs(envs)
NAMES = landscape_names()


@pytest.mark.parametrize("name", NAMES)
def test_gymnasium_makes_each(name: str) -> None:
    env = gymnasium.make(f"amc/PruningBench-{name}-v0", target=0.3)
    problem = env.unwrapped
    assert isinstance(problem, PruningEnv)
    check_env(problem, skip_render_check=True)
    env.reset()
    terminated = False
    while not terminated:
        _, reward, terminated, _, info = env.step(np.array([0.5], np.float32))
    assert info["feasible"]
    assert reward == pytest.approx(problem.engine.evaluate(info["strategy"]).metric - 1)


@pytest.mark.parametrize("name", NAMES)
def test_the_best_known_is_within_the_target_and_beats_what_is_known_without_a_search(name: str) -> None:
    for target, strategy in read_landscape(name).best.items():
        problem = make_bench(name, target=target)
        assert problem.budget.fits(strategy)
        best = problem.engine.evaluate(strategy).metric
        assert all(best >= problem.engine.evaluate(known).metric for known in known_strategies(problem).values())


@pytest.mark.parametrize("name", NAMES)
def test_the_dense_network_scores_about_what_it_really_does(name: str) -> None:
    engine = make_bench(name).engine
    dense = read_landscape(name).description.dense
    assert engine.evaluate((1.0,) * len(engine.layers)).metric == pytest.approx(dense.metric, abs=0.05)


def test_there_are_some() -> None:
    assert "resnet20-cifar10" in NAMES
