"""The agent of the AMC paper: stable-baselines3's DDPG with a sigmoid actor and a truncated-normal exploration."""

from typing import Any, NamedTuple

import torch
from stable_baselines3 import DDPG
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.td3.policies import Actor, TD3Policy
from torch import Tensor, nn

from amc.agent.exploring import Exploring


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


class AMCDDPG(Exploring, DDPG):
    """DDPG whose actions, while it learns, follow AMC's exploration.

    Args:
        *args: as for ``Exploring``.
        learning_rates: of actor and critic.
        **kwargs: as for ``Exploring``.

    References:
        Lillicrap et al., 2015, "Continuous control with deep reinforcement learning", arXiv 1509.02971; He et al.,
        2018, "AMC: AutoML for Model Compression and Acceleration on Mobile Devices", section 3.2.
    """

    def __init__(self, *args: Any, learning_rates: LearningRates, **kwargs: Any) -> None:  # noqa: ANN401  handed on
        self._rates = learning_rates
        super().__init__(*args, **kwargs)

    def _update_learning_rate(self, optimizers: list[torch.optim.Optimizer] | torch.optim.Optimizer) -> None:
        """Give each network its own rate; stable-baselines3 knows one for both."""
        both = optimizers if isinstance(optimizers, list) else [optimizers]
        for optimizer, rate in zip(both, self._rates, strict=True):
            for group in optimizer.param_groups:
                group["lr"] = rate
