"""Strategies from mild to wild at equal cost: what rewards are asked to rank."""

from collections.abc import Iterator
from itertools import cycle
from typing import NamedTuple

import numpy as np

from baselines.global_threshold import GlobalThreshold
from baselines.least_error import LeastError
from envs.constraint import ResourceBudget, rescale, uniform_strategy
from envs.engine.types import Strategy
from envs.pruning_env import PruningEnv
from envs.search import RecordTrials

SPREADS = (0.1, 0.2, 0.4, 0.8)
"""Standard deviations of the logarithm of a layer's ratio around that of a known strategy."""


class Drawn(NamedTuple):
    """A strategy, and how it came about."""

    source: str
    strategy: Strategy


def draw(problem: PruningEnv, number: int, seed: int) -> list[Drawn]:
    """Return different strategies, the known ones first: uniform ratios, least error, one global threshold.

    The others lie around the first two at several spreads, or are drawn from all ratios alike. All but uniform
    ratios are scaled up to the target, as far as rounding lets them: the records have what each uses of it.

    Args:
        problem: on whole channels.
        number: how many.
        seed: the same seed draws the same.
    """
    drawn: dict[Strategy, str] = {}
    for source, strategy in _candidates(problem, np.random.default_rng(seed)):
        drawn.setdefault(strategy, source)
        if len(drawn) == number:
            break
    return [Drawn(source, strategy) for strategy, source in drawn.items()]


def _candidates(problem: PruningEnv, rng: np.random.Generator) -> Iterator[tuple[str, Strategy]]:
    budget = problem.budget
    layers = len(budget.engine.layers)
    known = {
        "uniform": uniform_strategy(budget),
        "least error": LeastError(budget).strategy(),
    }
    yield from known.items()
    yield "global threshold", _global_threshold(problem)
    for spread in cycle((*SPREADS, None)):
        if spread is None:
            yield "any", rescale(budget, tuple(rng.uniform(budget.min_keep, 1, layers).tolist()))
        else:
            for name, centre in known.items():
                yield f"{name} {spread}", _around(budget, centre, spread, rng)


def _around(budget: ResourceBudget, centre: Strategy, spread: float, rng: np.random.Generator) -> Strategy:
    factors = np.exp(spread * rng.standard_normal(len(centre)))
    return rescale(budget, tuple(np.clip(np.array(centre) * factors, budget.min_keep, 1).tolist()))


def _global_threshold(problem: PruningEnv) -> Strategy:
    env = RecordTrials(problem, episodes=1)
    GlobalThreshold().search(env)
    return env.trials[0].strategy
