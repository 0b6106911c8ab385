"""The agent of the AMC paper: stable-baselines3's DDPG with a sigmoid actor and a truncated-normal exploration."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3 import DDPG
from stable_baselines3.common.noise import ActionNoise
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.td3.policies import Actor, TD3Policy
from torch import Tensor, nn

from amc.agent.exploration import Exploration, truncated_normal

Array = NDArray[Any]


class LearningRates(NamedTuple):
    """Adam's learning rates of the two networks."""

    actor: float
    critic: float


class StretchedSigmoid(nn.Module):
    """A sigmoid stretched to [-1, 1], the range in which stable-baselines3 holds actions."""

    def forward(self, values: Tensor) -> Tensor:
        """Map any real to [-1, 1]."""
        return 2 * torch.sigmoid(values) - 1


class SigmoidPolicy(TD3Policy):
    """TD3's networks with AMC's sigmoid at the end of the actor instead of tanh."""

    def make_actor(self, features_extractor: BaseFeaturesExtractor | None = None) -> Actor:
        """Build an actor and exchange its last activation."""
        actor = super().make_actor(features_extractor)
        actor.mu = nn.Sequential(*list(actor.mu)[:-1], StretchedSigmoid())
        return actor


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute with one thread: these networks are so small that a second one only costs."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class AMCDDPG(DDPG):
    """DDPG whose actions, while it learns, follow AMC's exploration.

    Args:
        *args: as for ``DDPG``.
        learning_rates: of actor and critic.
        exploration: how actions stray.
        rng: draws them.
        **kwargs: as for ``DDPG``.

    References:
        Lillicrap et al., 2015, "Continuous control with deep reinforcement learning", arXiv 1509.02971; He et al.,
        2018, "AMC: AutoML for Model Compression and Acceleration on Mobile Devices", section 3.2.
    """

    def __init__(
        self,
        *args: Any,  # noqa: ANN401  handed on
        learning_rates: LearningRates,
        exploration: Exploration,
        rng: np.random.Generator,
        **kwargs: Any,  # noqa: ANN401  handed on
    ) -> None:
        self._rates = learning_rates
        self._exploration = exploration
        self._rng = rng
        super().__init__(*args, **kwargs)

    def _update_learning_rate(self, optimizers: list[torch.optim.Optimizer] | torch.optim.Optimizer) -> None:
        """Give each network its own rate; stable-baselines3 knows one for both."""
        both = optimizers if isinstance(optimizers, list) else [optimizers]
        for optimizer, rate in zip(both, self._rates, strict=True):
            for group in optimizer.param_groups:
                group["lr"] = rate

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
        if self._episode_num < self._exploration.warm_up:
            keep = float(self._rng.uniform(low, high))
        else:
            sigma = self._exploration.sigma_at(self._episode_num)
            keep = truncated_normal(self._actor_says(), sigma, low, high, self._rng)
        action = np.array([[keep]], dtype=np.float32)
        return action, self.policy.scale_action(action)

    def _actor_says(self) -> float:
        if self._last_obs is None:
            raise RuntimeError("the agent acts before the environment was reset")
        with one_thread():
            return float(self.predict(self._last_obs, deterministic=True)[0].item())

    def train(self, gradient_steps: int, batch_size: int = 100) -> None:
        """Update the networks, with one thread."""
        with one_thread():
            super().train(gradient_steps, batch_size)
