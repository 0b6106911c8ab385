import math
import warnings
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.utils.env_checker import check_env as check_gymnasium
from stable_baselines3.common.env_checker import check_env as check_stable_baselines

import envs  # noqa: F401  registers amc/Pruning-v0
from envs.constraint import TargetError, rescale
from envs.engine.analytic import AnalyticEngine
from envs.engine.types import Cost, Evaluation, Strategy
from envs.pruning_env import CONSTRAINTS, PruningEnv

WANTED = (0.9, 0.3, 0.7, 0.5)


def play(env: PruningEnv, wanted: Strategy) -> tuple[list[np.ndarray], list[float], list[dict[str, Any]]]:
    observation, _ = env.reset()
    observations, rewards, infos = [observation], [], []
    for number, keep in enumerate(wanted):
        observation, reward, terminated, truncated, info = env.step(np.array([keep], dtype=np.float32))
        assert terminated is (number + 1 == len(wanted))
        assert truncated is False
        observations.append(observation)
        rewards.append(reward)
        infos.append(info)
    return observations, rewards, infos


@pytest.mark.parametrize("constraint", CONSTRAINTS)
def test_gymnasium_check(constraint: str) -> None:
    check_gymnasium(gym.make("amc/Pruning-v0", constraint=constraint).unwrapped)


@pytest.mark.parametrize("constraint", CONSTRAINTS)
def test_stable_baselines_check(constraint: str) -> None:
    env = gym.make("amc/Pruning-v0", constraint=constraint).unwrapped
    with warnings.catch_warnings():
        # Its only complaint: it would rather see actions in [-1, 1] than keep ratios.
        warnings.filterwarnings("ignore", "We recommend you to use a symmetric and normalized Box action space")
        check_stable_baselines(env)
    check_stable_baselines(gym.wrappers.RescaleAction(env, np.float32(-1), np.float32(1)))


def test_make_takes_any_engine(small_engine: AnalyticEngine) -> None:
    default = gym.make("amc/Pruning-v0").unwrapped
    assert isinstance(default, PruningEnv)
    assert default.engine == AnalyticEngine()
    other = gym.make("amc/Pruning-v0", engine=small_engine, target=0.4).unwrapped
    assert isinstance(other, PruningEnv)
    assert other.engine is small_engine
    assert other.budget.target == 0.4


def test_spaces(small_engine: AnalyticEngine) -> None:
    env = PruningEnv(small_engine)
    assert env.observation_space == spaces.Box(0, 1, (11,), np.float32)
    assert env.action_space == spaces.Box(0, 1, (1,), np.float32)


@pytest.mark.parametrize("constraint", CONSTRAINTS)
def test_reward_comes_once_at_the_end(small_engine: AnalyticEngine, constraint: str) -> None:
    _, rewards, infos = play(PruningEnv(small_engine, constraint=constraint), WANTED)
    last = infos[-1]
    assert rewards[:-1] == [0.0] * 3
    assert last["evaluation"] == small_engine.evaluate(last["strategy"])
    assert rewards[-1] == last["evaluation"].metric - 1
    assert last["cost"] == small_engine.cost(last["strategy"])
    assert last["feasible"] is True
    assert last["cost"].flops <= 0.5 * small_engine.cost((1.0,) * 4).flops
    assert all("strategy" not in info for info in infos[:-1])


def test_bound_reports_at_each_step_what_it_executed(small_engine: AnalyticEngine) -> None:
    env = PruningEnv(small_engine, constraint="bound")
    observations, _, infos = play(env, (1.0,) * 4)
    executed = tuple(info["keep"] for info in infos)
    assert executed == infos[-1]["strategy"]
    assert executed[0] == 1.0, "nothing was asked of the first layer that the later ones cannot pay for"
    assert min(executed) < 1.0
    np.testing.assert_array_equal(observations, env.observations(executed))


def test_rescale_changes_the_strategy_at_the_end(small_engine: AnalyticEngine) -> None:
    env = PruningEnv(small_engine, constraint="rescale")
    observations, _, infos = play(env, (1.0,) * 4)
    assert [info["keep"] for info in infos] == [1.0] * 4
    assert infos[-1]["strategy"] == rescale(env.budget, (1.0,) * 4)
    np.testing.assert_array_equal(observations, env.observations((1.0,) * 4))


def test_ratios_below_the_minimum_count_as_the_minimum(small_engine: AnalyticEngine) -> None:
    env = PruningEnv(small_engine, constraint="bound", min_keep=0.4)
    _, _, infos = play(env, (0.0, 0.1, 0.2, 0.3))
    assert infos[-1]["strategy"] == env.budget.floors


def test_observations_are_fresh_and_within_the_space(small_engine: AnalyticEngine) -> None:
    env = PruningEnv(small_engine)
    observations, _, _ = play(env, WANTED)
    assert all(env.observation_space.contains(observation) for observation in observations)
    copies = [observation.copy() for observation in observations]
    play(env, (0.2,) * 4)
    np.testing.assert_array_equal(observations, copies)
    again, _, _ = play(env, WANTED)
    np.testing.assert_array_equal(again, copies)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_an_action_that_is_no_number_is_refused(small_engine: AnalyticEngine, bad: float) -> None:
    env = PruningEnv(small_engine)
    env.reset()
    with pytest.raises(ValueError, match="finite"):
        env.step(np.array([bad], dtype=np.float32))


def test_an_episode_starts_with_reset_and_ends_with_the_last_layer(small_engine: AnalyticEngine) -> None:
    env = PruningEnv(small_engine)
    action = np.array([0.5], dtype=np.float32)
    with pytest.raises(gym.error.ResetNeeded):
        env.step(action)
    play(env, WANTED)
    with pytest.raises(gym.error.ResetNeeded):
        env.step(action)


def test_a_reward_that_is_no_number_is_refused(small_engine: AnalyticEngine) -> None:
    env = PruningEnv(small_engine, reward=lambda evaluation, cost: math.nan * evaluation.metric * cost.flops)
    with pytest.raises(ValueError, match="reward is nan"):
        play(env, WANTED)


def test_a_reward_may_be_any_function(small_engine: AnalyticEngine) -> None:
    env = PruningEnv(small_engine, reward=lambda _, cost: -cost.params)
    _, rewards, infos = play(env, WANTED)
    assert rewards[-1] == -infos[-1]["cost"].params


@pytest.mark.parametrize("resource", ["flops", "params"])
@pytest.mark.parametrize("constraint", CONSTRAINTS)
def test_the_limited_resource_is_the_one_asked_for(
    small_engine: AnalyticEngine, resource: str, constraint: str
) -> None:
    env = PruningEnv(small_engine, resource=resource, target=0.3, constraint=constraint)
    _, _, infos = play(env, (1.0,) * 4)
    dense = getattr(small_engine.cost((1.0,) * 4), resource)
    assert 0.2 * dense < getattr(infos[-1]["cost"], resource) <= 0.3 * dense


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"reward": "top5"}, "reward='top5'"),
        ({"constraint": "soft"}, "constraint='soft'"),
        ({"resource": "energy"}, "resource='energy'"),
    ],
)
def test_unknown_names_are_refused(small_engine: AnalyticEngine, arguments: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PruningEnv(small_engine, **arguments)


def test_impossible_targets_are_refused_at_once(small_engine: AnalyticEngine) -> None:
    with pytest.raises(TargetError):
        PruningEnv(small_engine, target=1.5)


class Empty:
    layers = ()

    def cost(self, strategy: Strategy) -> Cost:
        raise NotImplementedError

    def evaluate(self, strategy: Strategy) -> Evaluation:
        raise NotImplementedError


def test_an_engine_without_layers_is_refused() -> None:
    with pytest.raises(ValueError, match="no layer"):
        PruningEnv(Empty())
