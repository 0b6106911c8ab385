"""One keep ratio for every layer: what a search has to beat."""

from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass
from typing import ClassVar

from envs.constraint import ResourceBudget, uniform_ratio
from envs.engine.types import Strategy
from envs.pruning_env import PruningEnv
from envs.search import RecordTrials, Trial, run_episode


@dataclass(frozen=True)
class Uniform:
    """Plays one episode: the largest ratio that, kept by all layers alike, meets the target.

    The ratio comes from the cost model, so it takes no evaluation to find.
    """

    needs: ClassVar[Mapping[str, object]] = {}

    def search(self, env: RecordTrials) -> None:
        """Play the one episode."""
        ratio = uniform_ratio(env.problem.budget)
        run_episode(env, lambda _: ratio)


def uniform_trial(problem: PruningEnv) -> Trial:
    """Return the trial of uniform ratios, beside whatever search is going on: it costs nobody an episode."""
    env = RecordTrials(problem, episodes=1)
    Uniform().search(env)
    return env.best


def uniform_within(problem: PruningEnv, budget: ResourceBudget) -> Strategy:
    """Return the strategy that uniform ratios come to on a problem with another budget, not scored."""
    posed = copy(problem)
    posed.budget = budget
    return posed.execute((uniform_ratio(budget),) * len(budget.engine.layers))
