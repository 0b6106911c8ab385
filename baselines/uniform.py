"""One keep ratio for every layer: what a search has to beat."""

from dataclasses import dataclass

from envs.constraint import uniform_ratio
from envs.pruning_env import PruningEnv
from envs.search import RecordTrials, Trial, run_episode


@dataclass(frozen=True)
class Uniform:
    """Plays one episode: the largest ratio that, kept by all layers alike, meets the target.

    The ratio comes from the cost model, so it takes no evaluation to find.
    """

    def search(self, env: RecordTrials) -> None:
        """Play the one episode."""
        ratio = uniform_ratio(env.problem.budget)
        run_episode(env, lambda _: ratio)


def uniform_trial(problem: PruningEnv) -> Trial:
    """Return the trial of uniform ratios, beside whatever search is going on: it is nobody's budget."""
    env = RecordTrials(problem, episodes=1)
    Uniform().search(env)
    return env.best
