"""Uniformly random keep ratios: the control that shows what an agent learns."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from envs.engine.fields import check_settings, setting
from envs.engine.settings import SEEDS
from envs.search import RecordTrials


@dataclass(frozen=True)
class RandomSearch:
    """Draws every ratio from [min_keep, 1] until no episode is left; the environment meets the target.

    Attributes:
        seed: the same seed gives the same trials.
    """

    needs: ClassVar[Mapping[str, object]] = {}

    seed: int = setting(0, SEEDS)

    def __post_init__(self) -> None:
        check_settings(self)

    def search(self, env: RecordTrials) -> None:
        """Play random episodes."""
        rng = np.random.default_rng(self.seed)
        low = env.problem.budget.min_keep
        layers = len(env.problem.engine.layers)
        wanted = (tuple(rng.uniform(low, 1.0, layers)) for _ in range(env.remaining))
        for _ in env.play_ahead(wanted, env.problem.at_once):
            pass
