"""Agents with a deterministic actor that explore as AMC's does."""

from typing import Any

import numpy as np
from gymnasium import spaces
from stable_baselines3.common.noise import ActionNoise

from amc.agent.exploration import Exploration, truncated_normal
from amc.agent.off_policy import Array, IsolatedAgent


class Exploring(IsolatedAgent):
    """An agent whose actions, while it learns, follow AMC's exploration.

    Args:
        *args: as for the agent of stable-baselines3.
        exploration: how actions stray.
        rng: draws them.
        **kwargs: as for the agent of stable-baselines3.

    References:
        He et al., 2018, "AMC: AutoML for Model Compression and Acceleration on Mobile Devices", section 3.2.
    """

    def __init__(
        self,
        *args: Any,  # noqa: ANN401  handed on
        exploration: Exploration,
        rng: np.random.Generator,
        **kwargs: Any,  # noqa: ANN401  handed on
    ) -> None:
        self.exploration = exploration
        self._rng = rng
        super().__init__(*args, **kwargs)

    def _sample_action(
        self,
        learning_starts: int,  # noqa: ARG002  the warm-up is counted in episodes here
        action_noise: ActionNoise | None = None,  # noqa: ARG002  noise that is added cannot be truncated
        n_envs: int = 1,  # noqa: ARG002  always one
    ) -> tuple[Array, Array]:
        """Return the next keep ratio, and the same in [-1, 1]."""
        space = self.action_space
        assert isinstance(space, spaces.Box)  # noqa: S101  the constructor takes no other
        low, high = space.low.item(), space.high.item()
        if self._episode_num < self.exploration.warm_up:
            keep = float(self._rng.uniform(low, high))
        else:
            sigma = self.exploration.sigma_at(self._episode_num)
            keep = truncated_normal(self._actor_says(), sigma, low, high, self._rng)
        action = np.array([[keep]], dtype=np.float32)
        return action, self.policy.scale_action(action)

    def _actor_says(self) -> float:
        if self._last_obs is None:
            raise RuntimeError("the agent acts before the environment was reset")
        return float(self.predict(self._last_obs, deterministic=True)[0].item())
