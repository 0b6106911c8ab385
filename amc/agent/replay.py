"""Replay memory of the AMC paper: every step of an episode carries the episode's reward and what was executed."""

from collections.abc import Callable
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.type_aliases import ReplayBufferSamples
from stable_baselines3.common.vec_env import VecNormalize

from envs.engine.types import Strategy

Array = NDArray[Any]
TINY = 1e-8


class MovingBaseline:
    """Exponential moving average and variance of the episodes' rewards.

    Args:
        decay: weight of the past.
        normalize: whether rewards are divided by the standard deviation too.
    """

    def __init__(self, decay: float, normalize: bool) -> None:
        self._decay = decay
        self._normalize = normalize
        self._mean: float | None = None
        self._variance = 0.0

    def update(self, reward: float) -> None:
        """Take the reward of an episode in."""
        if self._mean is None:
            self._mean = reward
        away = reward - self._mean
        self._variance = self._decay * (self._variance + (1 - self._decay) * away**2)
        self._mean += (1 - self._decay) * away

    @property
    def mean(self) -> float:
        """The average so far, 0 before the first episode."""
        return self._mean or 0.0

    @property
    def scale(self) -> float:
        """What rewards are divided by."""
        return max(self._variance**0.5, TINY) if self._normalize else 1.0


def scaled(strategy: Strategy, low: float, high: float) -> Array:
    """Return keep ratios in [low, high] as stable-baselines3 holds actions, in [-1, 1]."""
    return 2 * (np.array(strategy, dtype=np.float32) - low) / (high - low) - 1


class EpisodeReturnBuffer(ReplayBuffer):
    """A replay buffer that rewrites each episode once its outcome is known.

    At the end of an episode its transitions are stored as those of the executed strategy: the observations that go
    with it, the executed keep ratio as action, and the final reward at every step. Sampled rewards are measured
    against a moving average of the episodes' rewards.

    Args:
        buffer_size: number of transitions held.
        observation_space: as for ``ReplayBuffer``.
        action_space: the keep ratios; actions are stored scaled to [-1, 1], as stable-baselines3 does.
        *args: device and number of environments, as for ``ReplayBuffer``.
        observations: turns an executed strategy into the observations of its episode.
        baseline: what rewards are measured against.
        rng: draws the batches.
        **kwargs: the other arguments of ``ReplayBuffer``.

    References:
        He et al., 2018, "AMC: AutoML for Model Compression and Acceleration on Mobile Devices", section 3.2.
    """

    def __init__(
        self,
        buffer_size: int,
        observation_space: spaces.Box,
        action_space: spaces.Box,
        *args: Any,  # noqa: ANN401  handed on
        observations: Callable[[Strategy], Array],
        baseline: MovingBaseline,
        rng: np.random.Generator,
        **kwargs: Any,  # noqa: ANN401  handed on
    ) -> None:
        super().__init__(buffer_size, observation_space, action_space, *args, **kwargs)
        self._observations = observations
        self._baseline = baseline
        self._rng = rng
        self._low, self._high = action_space.low.item(), action_space.high.item()

    def add(
        self,
        obs: Array,  # noqa: ARG002  rewritten from the executed strategy
        next_obs: Array,  # noqa: ARG002
        action: Array,  # noqa: ARG002
        reward: Array,
        done: Array,
        infos: list[dict[str, Any]],
    ) -> None:
        """Store the episode when its last step arrives; earlier steps wait for the outcome."""
        if done[0]:
            self.add_episode(infos[0]["strategy"], float(reward[0]))

    def add_episode(self, strategy: Strategy, reward: float) -> None:
        """Store the episode that executed a strategy, whoever played it."""
        self._baseline.update(reward)
        seen = self._observations(strategy)
        for step, keep in enumerate(scaled(strategy, self._low, self._high)):
            last = np.array([step + 1 == len(strategy)])
            super().add(seen[step], seen[step + 1], np.array([keep]), np.array([reward]), last, [{}])

    def sample(self, batch_size: int, env: VecNormalize | None = None) -> ReplayBufferSamples:
        """Draw a batch whose rewards are relative to the baseline."""
        batch = self._get_samples(self._rng.integers(self.size(), size=batch_size), env=env)
        return batch._replace(rewards=(batch.rewards - self._baseline.mean) / self._baseline.scale)
