"""TD3 in place of DDPG: AMC's game, replay and exploration, with twin delayed critics."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from stable_baselines3 import TD3

from amc.agent.exploration import SPREADS, check_narrowing, narrowing
from amc.agent.exploring import Exploring
from amc.agent.off_policy import RATES, Learning, agent_settings, learn
from envs.engine.fields import Interval, setting
from envs.search import RecordTrials


class ExploringTD3(Exploring, TD3):
    """TD3 whose actions, while it learns, follow AMC's exploration."""


@dataclass(frozen=True)
class TD3Search(Learning):
    """Twin delayed deep deterministic policy gradient.

    Attributes, beside those of ``Learning``:
        sigma: standard deviation of the exploration after the warm-up.
        sigma_end: standard deviation of the last episode, reached by the same factor from one to the next.
        lr: Adam's learning rate of actor and critics.
        policy_delay: updates of the critics for one of the actor.
        target_noise: standard deviation of the noise on the target's actions, which span [-1, 1].
        target_clip: largest size of that noise.

    Raises:
        ValueError: a value is out of range.

    References:
        Fujimoto et al., 2018, "Addressing Function Approximation Error in Actor-Critic Methods", arXiv 1802.09477.
    """

    needs: ClassVar[Mapping[str, object]] = {}

    sigma: float = setting(0.5, SPREADS)
    sigma_end: float = setting(0.02, SPREADS)
    lr: float = setting(1e-3, RATES)
    policy_delay: int = setting(2, Interval(1, 10**6))
    target_noise: float = setting(0.2, Interval(0, 10))
    target_clip: float = setting(0.5, Interval(0, 10))

    def __post_init__(self) -> None:
        super().__post_init__()
        check_narrowing(self.sigma, self.sigma_end)

    def search(self, env: RecordTrials) -> None:
        """Learn until no episode is left: one update a step, at the end of each episode."""
        learn(self.make_agent(env), env)

    def make_agent(self, env: RecordTrials) -> ExploringTD3:
        """Return the agent that plays the episodes left in ``env``; it has learnt nothing yet."""
        rng = np.random.default_rng(self.seed)
        return ExploringTD3(
            "MlpPolicy",
            **agent_settings(self, env, rng),
            learning_rate=self.lr,
            policy_delay=self.policy_delay,
            target_policy_noise=self.target_noise,
            target_noise_clip=self.target_clip,
            exploration=narrowing(self.sigma, self.sigma_end, self.warm_up_episodes(env.remaining), env.remaining),
            rng=rng,
        )
