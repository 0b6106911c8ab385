"""What is recorded: strategies from mild to wild around what is known, and single layers."""

from collections.abc import Iterator
from itertools import cycle, islice
from typing import NamedTuple

import numpy as np

from baselines.known_strategies import known_strategies
from baselines.least_error import LeastError
from envs.constraint import ResourceBudget, rescale
from envs.engine.types import KnowsReconstructionError, Strategy
from envs.pruning_env import PruningEnv

SPREADS = (0.1, 0.2, 0.4, 0.8)
"""Standard deviations of the logarithms of ratios around those of a known strategy."""
WEIGHTS = (0.3, 0.7, 1.2)
"""Standard deviations of the logarithms of the weights on layers' errors."""
LEAST, MOST = 0.1, 0.8
"""Between these lie the targets of strategies that belong to none."""
RATIOS = (0.3, 0.5, 0.75)
"""At which single layers are recorded."""
TRIES = 10


class Drawn(NamedTuple):
    """A strategy, and where it comes from."""

    source: str
    strategy: Strategy


def draw(problem: PruningEnv, number: int, seed: int) -> list[Drawn]:
    """Return different strategies within the target, those that are known before any evaluation first.

    Args:
        problem: with the target.
        number: how many, or fewer where no others are found.
        seed: the same seed draws the same.
    """
    drawn: dict[Strategy, str] = {}
    for source, strategy in islice(_candidates(problem, np.random.default_rng(seed)), TRIES * number):
        drawn.setdefault(strategy, source)
        if len(drawn) == number:
            break
    return [Drawn(source, strategy) for strategy, source in drawn.items()]


def draw_between(problem: PruningEnv, number: int, seed: int) -> list[Drawn]:
    """Return strategies at targets of their own, and the dense network with one layer pruned at a time.

    Args:
        problem: at any target.
        number: how many of the first kind.
        seed: the same seed draws the same.
    """
    rng, whole = np.random.default_rng(seed), problem.engine.layers
    drawn = []
    for _ in range(number):
        target = float(np.exp(rng.uniform(np.log(LEAST), np.log(MOST))))
        least = ResourceBudget(problem.engine, "flops", 1.0, problem.budget.min_keep)
        target = max(target, 1.05 * least.usage(least.floors) / least.dense)
        budget = ResourceBudget(problem.engine, "flops", target, problem.budget.min_keep)
        wanted = np.clip(np.exp(rng.uniform(0, 0.6) * rng.standard_normal(len(whole))), problem.budget.min_keep, 1)
        drawn.append(Drawn("between", rescale(budget, tuple(wanted.tolist()))))
    for step in range(len(whole)):
        for ratio in RATIOS:
            keep = problem.budget.execute(step, ratio)
            drawn.append(Drawn("one layer", tuple(keep if other == step else 1.0 for other in range(len(whole)))))
    return drawn


def _candidates(problem: PruningEnv, rng: np.random.Generator) -> Iterator[Drawn]:
    budget = problem.budget
    layers = len(budget.engine.layers)
    known = known_strategies(problem)
    for name, strategy in known.items():
        yield Drawn(name, strategy)
    least = LeastError(budget) if isinstance(budget.engine, KnowsReconstructionError) else None
    for spread in cycle(SPREADS):
        for name, centre in known.items():
            yield Drawn(f"around {name}", _around(budget, centre, spread, rng))
        yield Drawn("any", rescale(budget, tuple(rng.uniform(budget.min_keep, 1, layers).tolist())))
        if least is not None:
            for weights in WEIGHTS:
                yield Drawn("least error", least.strategy(np.exp(weights * rng.standard_normal(layers))))


def _around(budget: ResourceBudget, centre: Strategy, spread: float, rng: np.random.Generator) -> Strategy:
    factors = np.exp(spread * rng.standard_normal(len(centre)))
    return rescale(budget, tuple(np.clip(np.array(centre) * factors, budget.min_keep, 1).tolist()))
