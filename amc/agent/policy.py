"""AMC's search: a DDPG agent that walks through the network, layer by layer, episode by episode."""

from dataclasses import dataclass

import numpy as np

from amc.agent.ddpg import AMCDDPG, LearningRates, SigmoidPolicy
from amc.agent.exploration import narrowing
from amc.agent.off_policy import agent_settings, check_warm_up, learn, warm_up_episodes
from envs.search import RecordTrials


@dataclass(frozen=True)
class AMC:
    """The paper's agent, with the paper's values where it gives them.

    Attributes:
        seed: the same seed gives the same trials.
        warm_up: fraction of the budget that is spent on uniformly random actions.
        sigma: standard deviation of the exploration after the warm-up.
        sigma_end: standard deviation of the last episode, reached by the same factor from one to the next. The
            released code's factor, 0.95, is made for 800 episodes: in a smaller budget it leaves the agent with its
            first guess.
        gamma: discount.
        tau: how fast the target networks follow.
        actor_lr: Adam's learning rate of the actor.
        critic_lr: Adam's learning rate of the critic.
        batch_size: transitions an update.
        replay_size: transitions remembered.
        hidden: width of the two hidden layers of both networks.
        baseline_decay: weight of the past in the moving average that rewards are measured against.
        normalize: divide rewards by their moving standard deviation: the differences between strategies are a few
            hundredths, far below what the learning rates are made for.

    Raises:
        ValueError: ``warm_up`` or ``sigma_end`` is out of range.

    References:
        He et al., 2018, "AMC: AutoML for Model Compression and Acceleration on Mobile Devices", arXiv 1802.03494.
    """

    seed: int = 0
    warm_up: float = 0.25
    sigma: float = 0.5
    sigma_end: float = 0.02
    gamma: float = 1.0
    tau: float = 0.01
    actor_lr: float = 1e-4
    critic_lr: float = 1e-3
    batch_size: int = 64
    replay_size: int = 2000
    hidden: int = 300
    baseline_decay: float = 0.95
    normalize: bool = True

    def __post_init__(self) -> None:
        check_warm_up(self.warm_up)
        if not 0 < self.sigma_end <= self.sigma:
            raise ValueError(f"sigma_end={self.sigma_end}: must be above 0 and at most sigma={self.sigma}")

    def search(self, env: RecordTrials) -> None:
        """Learn until the budget is spent: one update a step, at the end of each episode."""
        learn(self._agent(env), env)

    def _agent(self, env: RecordTrials) -> AMCDDPG:
        rng = np.random.default_rng(self.seed)
        return AMCDDPG(
            SigmoidPolicy,
            **agent_settings(self, env, rng),
            learning_rates=LearningRates(self.actor_lr, self.critic_lr),
            exploration=narrowing(self.sigma, self.sigma_end, warm_up_episodes(self, env.remaining), env.remaining),
            rng=rng,
        )
