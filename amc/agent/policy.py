"""AMC's search: a DDPG agent that walks through the network, layer by layer, episode by episode."""

from dataclasses import dataclass

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from stable_baselines3.common.logger import Logger

from amc.agent.ddpg import AMCDDPG, LearningRates, SigmoidPolicy
from amc.agent.exploration import Exploration
from amc.agent.replay import EpisodeReturnBuffer, MovingBaseline
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
        if not 0 <= self.warm_up <= 1:
            raise ValueError(f"warm_up={self.warm_up}: must be a fraction of the budget, in [0, 1]")
        if not 0 < self.sigma_end <= self.sigma:
            raise ValueError(f"sigma_end={self.sigma_end}: must be above 0 and at most sigma={self.sigma}")

    def search(self, env: RecordTrials) -> None:
        """Learn until the budget is spent: one update a step, at the end of each episode."""
        steps = len(env.problem.engine.layers)
        episodes = env.remaining
        agent = self._agent(env, self._exploration(episodes), steps)
        # Without a logger of ours stable-baselines3 makes a folder in the temporary directory for its own.
        agent.set_logger(Logger(folder=None, output_formats=[]))
        agent.learn(episodes * steps)

    def _exploration(self, episodes: int) -> Exploration:
        warm_up = round(self.warm_up * episodes)
        decay = (self.sigma_end / self.sigma) ** (1 / max(1, episodes - warm_up - 1))
        return Exploration(warm_up, self.sigma, decay)

    def _agent(self, env: RecordTrials, exploration: Exploration, steps: int) -> AMCDDPG:
        rng = np.random.default_rng(self.seed)
        replay = {
            "observations": env.problem.observations,
            "baseline": MovingBaseline(self.baseline_decay, self.normalize),
            "rng": rng,
            "handle_timeout_termination": False,
        }
        return AMCDDPG(
            SigmoidPolicy,
            within_bounds(env),
            learning_rates=LearningRates(self.actor_lr, self.critic_lr),
            exploration=exploration,
            rng=rng,
            gamma=self.gamma,
            tau=self.tau,
            batch_size=self.batch_size,
            buffer_size=max(self.replay_size, steps),
            learning_starts=exploration.warm_up * steps,
            train_freq=(1, "episode"),
            gradient_steps=-1,
            replay_buffer_class=EpisodeReturnBuffer,
            replay_buffer_kwargs=replay,
            policy_kwargs={"net_arch": [self.hidden, self.hidden], "optimizer_kwargs": {"fused": True}},
            seed=self.seed,
            device="cpu",
        )


def within_bounds(env: RecordTrials) -> gym.Env[np.ndarray, np.ndarray]:
    """Let the agent's actions span [min_keep, 1]: smaller ones would all mean ``min_keep``."""
    low = np.float32(env.problem.budget.min_keep)
    return gym.wrappers.TransformAction(env, _unchanged, spaces.Box(low, np.float32(1.0), (1,)))


def _unchanged(action: np.ndarray) -> np.ndarray:
    return action
