"""The search of one Python call: within a target, or for the smallest network that loses no more than ``max_drop``."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from amc.config.policies import make_policy
from baselines.uniform import uniform_within
from envs.constraint import rescale
from envs.costs.budget import ResourceBudget
from envs.costs.max_drop import Floor, Renumbered, play_rounds
from envs.costs.measured_time import fit_to_clock
from envs.engine.types import Strategy
from envs.pruning_env import PruningEnv
from envs.search import RecordTrials, SearchPolicy, Sink, Trial, best_trial, play


@dataclass(frozen=True)
class Searched:
    """What a search came to.

    Attributes:
        problem: with the target that the best trial meets.
        trials: all, in order.
        best: the feasible one of highest reward, or what the clock made of it.
        uniform: uniform ratios as the clock made them; ``None`` where nothing was measured.
    """

    problem: PruningEnv
    trials: list[Trial]
    best: Trial
    uniform: Trial | None = None


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


def by_the_clock(
    searched: Searched, wanted: float, measure: Callable[[Sequence[Strategy]], Sequence[float]]
) -> Searched:
    """Return what was found, and uniform ratios, so that they take the time that is wanted as it is measured.

    Args:
        searched: on a problem that limits latency, by a table.
        wanted: fraction of the dense network's time.
        measure: what fractions of it strategies take, see ``envs.costs.measured_time``.
    """
    problem, best = searched.problem, searched.best

    def fitted(strategy: Strategy, refit: Callable[[ResourceBudget], Strategy]) -> Trial:
        chosen, _ = fit_to_clock(strategy, refit, problem.budget, wanted, measure)
        reward, outcome = problem.score(chosen.strategy)
        # Whether it is within the target, the clock has said.
        return replace(best, **outcome | {"feasible": True}, reward=reward)

    found = fitted(best.strategy, lambda budget: rescale(budget, best.strategy))
    return replace(
        searched, best=found, uniform=fitted(uniform_within(problem, problem.budget), partial(uniform_within, problem))
    )


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
