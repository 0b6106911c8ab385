"""The search of one Python call: within a target, or for the smallest network that loses no more than ``max_drop``."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from amc.config.policies import make_policy
from envs.costs.budget import ResourceBudget
from envs.costs.max_drop import Floor, Renumbered, play_rounds
from envs.pruning_env import PruningEnv
from envs.search import RecordTrials, SearchPolicy, Sink, Trial, best_trial, play


@dataclass(frozen=True)
class Searched:
    """What a search came to.

    Attributes:
        problem: with the target that the best trial meets.
        trials: all, in order.
        best: the feasible one of highest reward.
    """

    problem: PruningEnv
    trials: list[Trial]
    best: Trial


def policy_of(policy: str | SearchPolicy, seed: int) -> SearchPolicy:
    """Return who searches.

    Args:
        policy: a name, or an object that searches.
        seed: of a policy that is named.

    Raises:
        ValueError: it is neither.
    """
    if isinstance(policy, str):
        return make_policy(policy, seed)
    if isinstance(policy, type) or not callable(getattr(policy, "search", None)):
        raise ValueError(f"policy={policy!r}: must be an object with a method search(env), or a name")
    return policy


def search_within(problem: PruningEnv, policy: SearchPolicy, episodes: int, sinks: Sequence[Sink]) -> Searched:
    """Let a policy play on a problem.

    Raises:
        ValueError: no trial is within the target.
    """
    env = RecordTrials(problem, episodes, sinks)
    play(policy, env)
    return Searched(problem, env.trials, env.best)


def search_lowest(
    pose: Callable[[float], PruningEnv],
    floor: Floor,
    budget: ResourceBudget,
    make_policy: Callable[[], SearchPolicy],
    episodes: int,
    sinks: Sequence[Sink],
) -> Searched:
    """Let a policy play in rounds, each with a target of its own, see ``envs.costs.max_drop``.

    Args:
        pose: from a target to the problem.
        floor: what the metric must not fall below.
        budget: of the network, whatever its target.
        make_policy: who plays a round.
        episodes: of all rounds.
        sinks: called with each trial.

    Raises:
        TargetError: no strategy loses so little.
    """

    def one_round(target: float, share: int, before: int) -> list[Trial]:
        env = RecordTrials(pose(target), share, [Renumbered(sink, before) for sink in sinks])
        play(make_policy(), env)
        return [replace(trial, index=trial.index + before) for trial in env.trials]

    lowest = play_rounds(one_round, floor, budget, episodes)
    return Searched(pose(lowest.target), lowest.trials, best_trial(lowest.trials))
