"""SAC in place of DDPG: AMC's game and replay, with a stochastic actor that explores by its own entropy."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from stable_baselines3 import SAC

from amc.agent.off_policy import RATES, IsolatedAgent, Learning, agent_settings, learn
from envs.engine.fields import Interval, setting
from envs.search import RecordTrials


class IsolatedSAC(IsolatedAgent, SAC):
    """SAC with one thread and random numbers of its own."""


@dataclass(frozen=True)
class SACSearch(Learning):
    """Soft actor-critic.

    Attributes, beside those of ``Learning``:
        lr: Adam's learning rate of actor, critics and entropy coefficient.
        entropy: what a unit of entropy is worth at the start, in normalized reward; it is learned from there.
        target_entropy: entropy of the actions, which span [-1, 1], that the coefficient is learned for.

    Raises:
        ValueError: a value is out of range.

    References:
        Haarnoja et al., 2018, "Soft Actor-Critic Algorithms and Applications", arXiv 1812.05905.
    """

    needs: ClassVar[Mapping[str, object]] = {}

    lr: float = setting(1e-3, RATES)
    entropy: float = setting(1.0, Interval(0, 10**6, low_open=True))
    target_entropy: float = setting(-1.0, Interval(-1000, 1000))

    def search(self, env: RecordTrials) -> None:
        """Learn until no episode is left: one update a step, at the end of each episode."""
        learn(self.make_agent(env), env)

    def make_agent(self, env: RecordTrials) -> IsolatedSAC:
        """Return the agent that plays the episodes left in ``env``; it has learnt nothing yet."""
        return IsolatedSAC(
            "MlpPolicy",
            **agent_settings(self, env, np.random.default_rng(self.seed)),
            learning_rate=self.lr,
            ent_coef=f"auto_{self.entropy}",
            target_entropy=self.target_entropy,
        )
