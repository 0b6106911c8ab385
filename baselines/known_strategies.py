"""Good strategies that take no evaluation to find: what a search starts from, and has to end above."""

from collections.abc import Mapping

from baselines.global_threshold import global_threshold
from baselines.least_error import LeastError
from envs.constraint import uniform_strategy
from envs.engine.types import KnowsReconstructionError, KnowsUnitScores, Strategy
from envs.pruning_env import PruningEnv

LEAST = ("least compounded error", "least error")
"""Of those known, the best on most recorded networks, the better first (``benchmarks/agent.md``)."""
GLOBAL = ("mean", "l2")
"""Normalizations of the global rankings, see ``baselines.global_threshold``."""


def known_strategies(problem: PruningEnv) -> dict[str, Strategy]:
    """Return the strategies that are known before the first evaluation, all within the target, no two the same.

    They are uniform ratios, and what the engine knows enough for: least error, as it is and compounded, and one
    threshold for the units of the whole network.

    Args:
        problem: to be searched.

    Returns:
        Executed keep ratios by the name of what found them, uniform ratios first.
    """
    budget = problem.budget
    found = {"uniform": uniform_strategy(budget)}
    if isinstance(budget.engine, KnowsReconstructionError):
        found["least error"] = LeastError(budget).strategy()
        found["least compounded error"] = LeastError(budget, compounded=True).strategy()
    if isinstance(budget.engine, KnowsUnitScores):
        found |= {f"global threshold, {scale}": global_threshold(budget, scale) for scale in GLOBAL}
    different = {strategy: name for name, strategy in reversed(found.items())}
    return {name: strategy for name, strategy in found.items() if different[strategy] == name}


def most_promising_first(known: Mapping[str, Strategy]) -> list[Strategy]:
    """Return known strategies in the order in which they should be tried, so that even one episode is well spent."""
    places = {name: place for place, name in enumerate(LEAST)}
    return [known[name] for name in sorted(known, key=lambda name: places.get(name, len(places)))]
