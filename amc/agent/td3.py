"""TD3 in place of DDPG: AMC's game, replay and exploration, with twin delayed critics."""

from dataclasses import dataclass

import numpy as np
from stable_baselines3 import TD3

from amc.agent.exploration import narrowing
from amc.agent.exploring import Exploring
from amc.agent.off_policy import agent_settings, check_warm_up, learn, warm_up_episodes
from envs.search import RecordTrials


class ExploringTD3(Exploring, TD3):
    """TD3 whose actions, while it learns, follow AMC's exploration."""


@dataclass(frozen=True)
class TD3Search:
    """Twin delayed deep deterministic policy gradient.

    Attributes:
        seed: the same seed gives the same trials.
        warm_up: fraction of the budget that is spent on uniformly random actions.
        sigma: standard deviation of the exploration after the warm-up.
        sigma_end: standard deviation of the last episode, reached by the same factor from one to the next.
        gamma: discount.
        tau: how fast the target networks follow.
        lr: Adam's learning rate of actor and critics.
        batch_size: transitions an update.
        replay_size: transitions remembered.
        hidden: width of the two hidden layers of all networks.
        policy_delay: updates of the critics for one of the actor.
        target_noise: standard deviation of the noise on the target's actions, which span [-1, 1].
        target_clip: largest size of that noise.
        baseline_decay: weight of the past in the moving average that rewards are measured against.
        normalize: divide rewards by their moving standard deviation.

    Raises:
        ValueError: ``warm_up`` or ``sigma_end`` is out of range.

    References:
        Fujimoto et al., 2018, "Addressing Function Approximation Error in Actor-Critic Methods", arXiv 1802.09477.
    """

    seed: int = 0
    warm_up: float = 0.25
    sigma: float = 0.5
    sigma_end: float = 0.02
    gamma: float = 1.0
    tau: float = 0.01
    lr: float = 1e-3
    batch_size: int = 64
    replay_size: int = 2000
    hidden: int = 300
    policy_delay: int = 2
    target_noise: float = 0.2
    target_clip: float = 0.5
    baseline_decay: float = 0.95
    normalize: bool = True

    def __post_init__(self) -> None:
        check_warm_up(self.warm_up)
        if not 0 < self.sigma_end <= self.sigma:
            raise ValueError(f"sigma_end={self.sigma_end}: must be above 0 and at most sigma={self.sigma}")

    def search(self, env: RecordTrials) -> None:
        """Learn until the budget is spent: one update a step, at the end of each episode."""
        learn(self._agent(env), env)

    def _agent(self, env: RecordTrials) -> ExploringTD3:
        rng = np.random.default_rng(self.seed)
        return ExploringTD3(
            "MlpPolicy",
            **agent_settings(self, env, rng),
            learning_rate=self.lr,
            policy_delay=self.policy_delay,
            target_policy_noise=self.target_noise,
            target_noise_clip=self.target_clip,
            exploration=narrowing(self.sigma, self.sigma_end, warm_up_episodes(self, env.remaining), env.remaining),
            rng=rng,
        )
