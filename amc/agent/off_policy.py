"""What stable-baselines3's off-policy agents need to play this game: DDPG, TD3 and SAC alike."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm

from amc.agent.replay import EpisodeReturnBuffer, MovingBaseline
from envs.engine.fields import Interval, check_settings, setting
from envs.engine.settings import SEEDS
from envs.engine.threads import torch_threads
from envs.search import RecordTrials

Array = NDArray[Any]
FRACTION = Interval(0, 1)
RATES = Interval(0, 10, low_open=True)
"""Learning rates of Adam."""


@dataclass(frozen=True)
class Learning:
    """The settings that the agents share.

    Attributes:
        seed: the same seed gives the same trials.
        warm_up: fraction of the episodes that is spent on uniformly random actions.
        gamma: discount.
        tau: how fast the target networks follow.
        batch_size: transitions an update.
        replay_size: transitions remembered.
        hidden: width of the two hidden layers of all networks.
        baseline_decay: weight of the past in the moving average that rewards are measured against.
        normalize: divide rewards by their moving standard deviation: the differences between strategies are a few
            hundredths, far below what the learning rates are made for.

    Raises:
        ValueError: a value is out of range.
    """

    seed: int = setting(0, SEEDS)
    warm_up: float = setting(0.25, FRACTION)
    gamma: float = setting(1.0, FRACTION)
    tau: float = setting(0.01, Interval(0, 1, low_open=True))
    batch_size: int = setting(64, Interval(1, 10**5))
    replay_size: int = setting(2000, Interval(1, 10**7))
    hidden: int = setting(300, Interval(1, 4096))
    baseline_decay: float = setting(0.95, Interval(0, 1, high_open=True))
    normalize: bool = True

    def __post_init__(self) -> None:
        check_settings(self)

    def warm_up_episodes(self, episodes: int) -> int:
        """Return how many of the episodes are spent on the warm-up."""
        return round(self.warm_up * episodes)


def agent_settings(learning: Learning, env: RecordTrials, rng: np.random.Generator) -> dict[str, Any]:
    """Return the arguments of an agent that learns once an episode, one update a step, from executed strategies.

    Args:
        learning: the settings.
        env: the episodes that are left in it are played.
        rng: draws the batches.
    """
    steps = len(env.problem.engine.layers)
    replay = {
        "observations": env.problem.observations,
        "baseline": MovingBaseline(learning.baseline_decay, learning.normalize),
        "rng": rng,
        "handle_timeout_termination": False,
    }
    return {
        "env": within_bounds(env),
        "gamma": learning.gamma,
        "tau": learning.tau,
        "batch_size": learning.batch_size,
        "buffer_size": max(learning.replay_size, steps),
        "learning_starts": learning.warm_up_episodes(env.remaining) * steps,
        "train_freq": (1, "episode"),
        "gradient_steps": -1,
        "replay_buffer_class": EpisodeReturnBuffer,
        "replay_buffer_kwargs": replay,
        "policy_kwargs": {"net_arch": [learning.hidden, learning.hidden], "optimizer_kwargs": {"fused": True}},
        "seed": learning.seed,
        "device": "cpu",
    }


def learn(agent: OffPolicyAlgorithm, env: RecordTrials) -> None:
    """Let the agent learn until no episode is left."""
    # Without a logger of ours stable-baselines3 makes a folder in the temporary directory for its own.
    agent.set_logger(Logger(folder=None, output_formats=[]))
    agent.learn(env.remaining * len(env.problem.engine.layers))


def within_bounds(env: RecordTrials) -> gym.Env[Array, Array]:
    """Let the agent's actions span [min_keep, 1]: smaller ones would all mean ``min_keep``."""
    low = np.float32(env.problem.budget.min_keep)
    return gym.wrappers.TransformAction(env, _unchanged, spaces.Box(low, np.float32(1.0), (1,)))


def _unchanged(action: Array) -> Array:
    return action


class IsolatedAgent(OffPolicyAlgorithm):
    """An agent that shares neither threads nor random numbers with the engine whose episodes it plays.

    It computes with one thread, as its networks are so small that a second one only costs. And it draws from a
    stream of torch's random numbers of its own: what an evaluation draws, or that it is left out because its outcome
    is known, changes nothing of what the agent does.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401  handed on
        super().__init__(*args, **kwargs)
        self._torch_state = torch.get_rng_state()

    @contextmanager
    def isolated(self) -> Iterator[None]:
        """Compute with one thread and the agent's own random numbers."""
        state = torch.get_rng_state()
        torch.set_rng_state(self._torch_state)
        try:
            with torch_threads(1):
                yield
        finally:
            self._torch_state = torch.get_rng_state()
            torch.set_rng_state(state)

    def predict(self, *args: Any, **kwargs: Any) -> tuple[Array, tuple[Array, ...] | None]:  # noqa: ANN401  handed on
        """Return the action for an observation."""
        with self.isolated():
            return super().predict(*args, **kwargs)

    def train(self, gradient_steps: int, batch_size: int = 100) -> None:
        """Update the networks."""
        with self.isolated():
            super().train(gradient_steps, batch_size)
