import numpy as np
import pytest
from gymnasium import spaces

from amc.agent.replay import EpisodeReturnBuffer, MovingBaseline
from envs.engine.types import Strategy

OBSERVATIONS = spaces.Box(0.0, 1.0, (1,), np.float32)
ACTIONS = spaces.Box(np.float32(0.2), np.float32(1.0), (1,))
EXECUTED = (0.2, 0.6, 1.0)


def seen(strategy: Strategy) -> np.ndarray:
    return np.array([[0.0], *([ratio] for ratio in strategy)], dtype=np.float32)


def play_episode(buffer: EpisodeReturnBuffer, reward: float) -> None:
    nothing = np.zeros((1, 1), np.float32)
    for step in range(3):
        last = step == 2
        info = {"strategy": EXECUTED} if last else {}
        buffer.add(nothing, nothing, nothing, np.array([reward if last else 0.0]), np.array([last]), [info])


def make_buffer(baseline: MovingBaseline) -> EpisodeReturnBuffer:
    return EpisodeReturnBuffer(
        10, OBSERVATIONS, ACTIONS, "cpu", observations=seen, baseline=baseline, rng=np.random.default_rng(0)
    )


def test_an_episode_is_stored_as_executed_with_its_reward_at_every_step() -> None:
    buffer = make_buffer(MovingBaseline(1.0, normalize=False))
    play_episode(buffer, reward=0.7)
    assert buffer.size() == 3
    np.testing.assert_allclose(buffer.actions[:3, 0, 0], [-1.0, 0.0, 1.0], atol=1e-6)
    np.testing.assert_allclose(buffer.rewards[:3, 0], 0.7)
    np.testing.assert_allclose(buffer.observations[:3, 0, 0], [0.0, 0.2, 0.6])
    np.testing.assert_allclose(buffer.next_observations[:3, 0, 0], EXECUTED)
    assert buffer.dones[:3, 0].tolist() == [0, 0, 1]


def test_sampled_rewards_are_relative_to_the_moving_average() -> None:
    buffer = make_buffer(MovingBaseline(0.5, normalize=False))
    for reward in (1.0, 2.0):  # the average: 1, then 1.5
        play_episode(buffer, reward)
    assert set(buffer.sample(64).rewards.flatten().tolist()) == {-0.5, 0.5}


def test_normalized_rewards_do_not_depend_on_their_unit() -> None:
    scaled = []
    for unit in (1.0, 100.0):
        baseline = MovingBaseline(0.9, normalize=True)
        for reward in (0.1, 0.4, 0.2):
            baseline.update(unit * reward)
        scaled.append((unit * 0.3 - baseline.mean) / baseline.scale)
    assert scaled[0] == pytest.approx(scaled[1])
