"""SAC in place of DDPG: AMC's game and replay, with a stochastic actor that explores by its own entropy."""

from dataclasses import dataclass

import numpy as np
from stable_baselines3 import SAC

from amc.agent.off_policy import Secluded, agent_settings, check_warm_up, learn
from envs.search import RecordTrials


class SecludedSAC(Secluded, SAC):
    """SAC with one thread and random numbers of its own."""


@dataclass(frozen=True)
class SACSearch:
    """Soft actor-critic.

    Attributes:
        seed: the same seed gives the same trials.
        warm_up: fraction of the budget that is spent on uniformly random actions.
        gamma: discount.
        tau: how fast the target networks follow.
        lr: Adam's learning rate of actor, critics and entropy coefficient.
        entropy: what a unit of entropy is worth at the start, in normalized reward; it is learned from there.
        target_entropy: entropy of the actions, which span [-1, 1], that the coefficient is learned for.
        batch_size: transitions an update.
        replay_size: transitions remembered.
        hidden: width of the two hidden layers of all networks.
        baseline_decay: weight of the past in the moving average that rewards are measured against.
        normalize: divide rewards by their moving standard deviation.

    Raises:
        ValueError: ``warm_up`` or ``entropy`` is out of range.

    References:
        Haarnoja et al., 2018, "Soft Actor-Critic Algorithms and Applications", arXiv 1812.05905.
    """

    seed: int = 0
    warm_up: float = 0.25
    gamma: float = 1.0
    tau: float = 0.01
    lr: float = 1e-3
    entropy: float = 1.0
    target_entropy: float = -1.0
    batch_size: int = 64
    replay_size: int = 2000
    hidden: int = 300
    baseline_decay: float = 0.95
    normalize: bool = True

    def __post_init__(self) -> None:
        check_warm_up(self.warm_up)
        if not self.entropy > 0:
            raise ValueError(f"entropy={self.entropy}: must be above 0")

    def search(self, env: RecordTrials) -> None:
        """Learn until the budget is spent: one update a step, at the end of each episode."""
        learn(self._agent(env), env)

    def _agent(self, env: RecordTrials) -> SecludedSAC:
        return SecludedSAC(
            "MlpPolicy",
            **agent_settings(self, env, np.random.default_rng(self.seed)),
            learning_rate=self.lr,
            ent_coef=f"auto_{self.entropy}",
            target_entropy=self.target_entropy,
        )
