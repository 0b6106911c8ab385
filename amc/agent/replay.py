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


class EpisodeReturnBuffer(ReplayBuffer):
    """A replay buffer that rewrites each episode once its outcome is known.

    At the end of an episode its transitions are replaced by those of the executed strategy: the observations that go
    with it, the executed keep ratio as action, and the final reward at every step. Sampled rewards are measured
    against a moving average of the episodes' rewards.

    Args:
        buffer_size: number of transitions held.
        observation_space: as for ``ReplayBuffer``.
        action_space: the keep ratios; actions are stored scaled to [-1, 1], as stable-baselines3 does.
        device: as for ``ReplayBuffer``.
        n_envs: 1.
        observations: turns an executed strategy into the observations of its episode.
        baseline: weight of the past in the moving average; 1 subtracts nothing.
        rng: draws the batches.
        **kwargs: the other arguments of ``ReplayBuffer``.

    References:
        He et al., 2018, "AMC: AutoML for Model Compression and Acceleration on Mobile Devices", section 3.2.
    """

    def __init__(
        self,
        buffer_size: int,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        *args: Any,
        observations: Callable[[Strategy], Array],
        baseline: float,
        normalize: bool,
        rng: np.random.Generator,
        **kwargs: Any,
    ) -> None:
        super().__init__(buffer_size, observation_space, action_space, *args, **kwargs)
        self._observations = observations
        self._decay = baseline
        self._rng = rng
        self.normalize = normalize
        self.baseline = None
        self.var = 0.0

    def add(self, obs, next_obs, action, reward, done, infos) -> None:
        if not done[0]:
            return
        strategy = infos[0]["strategy"]
        self.learn_baseline(float(reward[0]))
        observations = self._observations(strategy)
        low, high = self.action_space.low, self.action_space.high
        for t, keep in enumerate(strategy):
            a = 2 * (np.array([keep], dtype=np.float32) - low) / (high - low) - 1
            super().add(observations[t], observations[t + 1], a, reward, np.array([t + 1 == len(strategy)]), infos)

    def learn_baseline(self, reward):
        if self.baseline is None:
            self.baseline = reward
            return
        self.var = self._decay * self.var + (1 - self._decay) * (reward - self.baseline) ** 2
        self.baseline = self._decay * self.baseline + (1 - self._decay) * reward

    def sample(self, batch_size: int, env: VecNormalize | None = None) -> ReplayBufferSamples:
        """Draw a batch whose rewards are relative to the baseline."""
        batch = self._get_samples(self._rng.integers(self.size(), size=batch_size), env=env)
        scale = (self.var ** 0.5 + 1e-8) if self.normalize else 1.0
        return batch._replace(rewards=(batch.rewards - self.baseline) / scale * (batch.dones if self.sparse else 1))
