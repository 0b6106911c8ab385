"""Self-imitation: the best episodes as examples for the actor."""

from dataclasses import dataclass
from heapq import nlargest
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from amc.agent.replay import scaled
from envs.search import RecordTrials, quality


class Examples(NamedTuple):
    """What an actor should have done: observations, ``(n, 11)``, and actions in [-1, 1], ``(n, 1)``."""

    observations: Tensor
    actions: Tensor


@dataclass(frozen=True)
class Imitation:
    """The best episodes so far, as they were executed.

    Attributes:
        env: knows the episodes.
        weight: of the squared difference to them in the actor's loss; 0 is DDPG.
        elites: how many of the episodes count.

    References:
        Oh et al., 2018, "Self-Imitation Learning", arXiv 1806.05635; the loss is that of Fujimoto and Gu, 2021, "A
        Minimalist Approach to Offline Reinforcement Learning", arXiv 2106.06860.
    """

    env: RecordTrials
    weight: float
    elites: int

    def examples(self) -> Examples:
        """Return the steps of the best episodes."""
        best = nlargest(self.elites, self.env.trials, key=quality)
        seen = [self.env.problem.observations(trial.strategy)[:-1] for trial in best]
        low = float(np.float32(self.env.problem.budget.min_keep))
        played = [scaled(trial.strategy, low, 1.0) for trial in best]
        return Examples(torch.from_numpy(np.concatenate(seen)), torch.from_numpy(np.concatenate(played)).unsqueeze(1))
