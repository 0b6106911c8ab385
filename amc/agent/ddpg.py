"""The agent of the AMC paper: stable-baselines3's DDPG with a sigmoid actor and a truncated-normal exploration."""

from typing import Any, NamedTuple

import torch
from stable_baselines3 import DDPG
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.type_aliases import ReplayBufferSamples
from stable_baselines3.common.utils import polyak_update
from stable_baselines3.td3.policies import Actor, TD3Policy
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from amc.agent.exploring import Exploring
from amc.agent.imitation import Examples, Imitation


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
    """DDPG whose actions, while it learns, follow AMC's exploration, and whose actor imitates the best episodes, too.

    Args:
        *args: as for ``Exploring``.
        learning_rates: of actor and critic.
        imitation: which episodes the actor imitates, and how much that counts.
        **kwargs: as for ``Exploring``.

    References:
        Lillicrap et al., 2015, "Continuous control with deep reinforcement learning", arXiv 1509.02971; He et al.,
        2018, "AMC: AutoML for Model Compression and Acceleration on Mobile Devices", section 3.2.
    """

    def __init__(
        self,
        *args: Any,  # noqa: ANN401  handed on
        learning_rates: LearningRates,
        imitation: Imitation,
        **kwargs: Any,  # noqa: ANN401  handed on
    ) -> None:
        self._rates = learning_rates
        self._imitation = imitation
        super().__init__(*args, **kwargs)

    def train(self, gradient_steps: int, batch_size: int = 100) -> None:
        """Update the networks; with a weight of 0 on imitation this is stable-baselines3's own update."""
        if self._imitation.weight == 0:
            super().train(gradient_steps, batch_size)
            return
        examples = self._imitation.examples()
        with self.isolated():
            self.policy.set_training_mode(True)
            self._update_learning_rate([self.actor.optimizer, self.critic.optimizer])
            for _ in range(gradient_steps):
                self._n_updates += 1
                self._update(self.replay_buffer.sample(batch_size), examples)  # type: ignore[union-attr]

    def fit_actor(self, updates: int) -> None:
        """Fit the actor to the best episodes alone, and the target actor with it, before the agent plays."""
        examples = self._imitation.examples()
        with self.isolated():
            self._update_learning_rate([self.actor.optimizer, self.critic.optimizer])
            for _ in range(updates):
                _descend(self.actor.optimizer, self._mismatch(examples))
            self.actor_target.load_state_dict(self.actor.state_dict())

    def _update(self, batch: ReplayBufferSamples, examples: Examples) -> None:
        """Update critic, actor and targets once: DDPG's update with imitation in the actor's loss."""
        with torch.no_grad():
            following = self.critic_target(batch.next_observations, self.actor_target(batch.next_observations))[0]
            wanted = batch.rewards + (1 - batch.dones) * self.gamma * following
        _descend(self.critic.optimizer, mse_loss(self.critic(batch.observations, batch.actions)[0], wanted))
        worth = self.critic.q1_forward(batch.observations, self.actor(batch.observations)).mean()
        _descend(self.actor.optimizer, self._imitation.weight * self._mismatch(examples) - worth)
        polyak_update(self.critic.parameters(), self.critic_target.parameters(), self.tau)
        polyak_update(self.actor.parameters(), self.actor_target.parameters(), self.tau)

    def _mismatch(self, examples: Examples) -> Tensor:
        return mse_loss(self.actor(examples.observations), examples.actions)

    def _update_learning_rate(self, optimizers: list[torch.optim.Optimizer] | torch.optim.Optimizer) -> None:
        """Give each network its own rate; stable-baselines3 knows one for both."""
        both = optimizers if isinstance(optimizers, list) else [optimizers]
        for optimizer, rate in zip(both, self._rates, strict=True):
            for group in optimizer.param_groups:
                group["lr"] = rate


def _descend(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
