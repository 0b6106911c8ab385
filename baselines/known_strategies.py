"""Good strategies that take no evaluation to find: what a search starts from, and has to end above."""

from collections.abc import Mapping

import numpy as np

from baselines.global_threshold import global_threshold
from baselines.least_error import LeastError
from envs.constraint import ResourceBudget, uniform_strategy
from envs.engine.types import KnowsReconstructionError, KnowsUnitScores, Strategy
from envs.pruning_env import PruningEnv

BY_DEPTH = "least compounded error by depth"
"""Of ``least_error_by_depth``."""
DEEPEST = 4.0
"""What an error of the last layer counts for in ``BY_DEPTH``, where one of the first layer counts for 1, growing by the
same factor from layer to layer: layers behind an error make up for it where repair compensates, and where a network is
fine-tuned, and behind the last there are none (``benchmarks/study.md``)."""
LEAST = ("least compounded error", BY_DEPTH, "least error")
"""Of those known, the best on most recorded networks, the better first (``benchmarks/agent.md``)."""
GLOBAL = ("mean", "l2")
"""Normalizations of the global rankings, see ``baselines.global_threshold``."""


def known_strategies(problem: PruningEnv) -> dict[str, Strategy]:
    """Return the strategies that are known before the first evaluation, all within the target, no two the same.

    They are uniform ratios, and what the engine knows enough for: least error, compounded, weighted by depth, and as it
    is, and one threshold for the units of the whole network.

    Args:
        problem: to be searched.

    Returns:
        Executed keep ratios by the name of what found them, uniform ratios first.
    """
    budget = problem.budget
    found = {"uniform": uniform_strategy(budget)}
    if isinstance(budget.engine, KnowsReconstructionError):
        found["least compounded error"] = LeastError(budget, compounded=True).strategy()
        found[BY_DEPTH] = least_error_by_depth(budget)
        found["least error"] = LeastError(budget).strategy()
    if isinstance(budget.engine, KnowsUnitScores):
        found |= {f"global threshold, {scale}": global_threshold(budget, scale) for scale in GLOBAL}
    different = {strategy: name for name, strategy in reversed(found.items())}
    return {name: strategy for name, strategy in found.items() if different[strategy] == name}


def least_error_by_depth(budget: ResourceBudget) -> Strategy:
    """Return the strategy of least compounded error where errors count the more the deeper they are, see ``DEEPEST``.

    Raises:
        ValueError: the engine does not know its reconstruction error.
    """
    compounded = LeastError(budget, compounded=True)
    return compounded.strategy(DEEPEST ** np.linspace(0, 1, compounded.layers))


def most_promising_first(known: Mapping[str, Strategy]) -> list[Strategy]:
    """Return known strategies in the order in which they should be tried, so that even one episode is well spent."""
    places = {name: place for place, name in enumerate(LEAST)}
    return [known[name] for name in sorted(known, key=lambda name: places.get(name, len(places)))]
