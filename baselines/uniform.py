"""One keep ratio for every layer: what a search has to beat."""

from dataclasses import dataclass

from envs.constraint import uniform_ratio
from envs.search import RecordTrials, run_episode


@dataclass(frozen=True)
class Uniform:
    """Plays one episode: the largest ratio that, kept by all layers alike, meets the target.

    The ratio comes from the cost model, so it takes no evaluation to find.
    """

    def search(self, env: RecordTrials) -> None:
        """Play the one episode."""
        ratio = uniform_ratio(env.problem.budget)
        run_episode(env, lambda _: ratio)
