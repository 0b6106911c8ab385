"""The best strategies on a landscape: long local searches on the surrogate, which cost nothing there."""

from collections.abc import Sequence

import numpy as np

from envs.constraint import ResourceBudget
from envs.costs.cost_table import Places, TableCost
from envs.engine.types import Strategy
from envs.landscapes.engine import LandscapeEngine

STARTS = 8
MOVES = 500
"""Neighbours looked at before the next step."""
ROUNDS = 60
FARTHEST = 3
"""Layers that a move changes at most besides the one that grows."""


def summits(engine: LandscapeEngine, budget: ResourceBudget, starts: Sequence[Sequence[int]]) -> list[Strategy]:
    """Return the strategies within a budget on FLOPs that steepest ascents of the metric end at, the best first.

    Args:
        engine: without noise.
        budget: on FLOPs.
        starts: kept units of strategies; the best of them are started from.
    """
    cost = TableCost(engine.layers, engine.description.costs["flops"])
    lowest = np.array([len(layer.choices) - len(r) for layer, r in zip(engine.layers, budget.ratios, strict=True)])
    highest = np.array([len(layer.choices) - 1 for layer in engine.layers])
    found = [[layer.choices.index(units) for layer, units in zip(engine.layers, kept, strict=True)] for kept in starts]
    places = np.unique(np.array([lowest.tolist(), *found]).clip(lowest, highest), axis=0)
    places = places[cost(places) <= budget.limit]
    rng = np.random.default_rng(0)
    ends: dict[Strategy, float] = {}
    for start in places[np.argsort(-engine.outputs(places)[:, 0])[:STARTS]]:
        now, metric = start, float(engine.outputs(start[None])[0, 0])
        for _ in range(ROUNDS):
            near = _neighbours(now, lowest, highest, rng)
            near = near[cost(near) <= budget.limit]
            scores = engine.outputs(near)[:, 0] if len(near) else np.array([-np.inf])
            if scores.max() <= metric:
                break
            now, metric = near[scores.argmax()], float(scores.max())
        ends[_strategy(engine, now)] = metric
    return sorted(ends, key=ends.__getitem__, reverse=True)


def _strategy(engine: LandscapeEngine, places: Places) -> Strategy:
    return tuple(
        layer.choices[place] / layer.units for layer, place in zip(engine.layers, places.tolist(), strict=True)
    )


def _neighbours(places: Places, lowest: Places, highest: Places, rng: np.random.Generator) -> Places:
    """Return strategies in which some layers grow or shrink by a choice or two."""
    layers = len(places)
    moves = np.zeros((MOVES, layers), dtype=np.int64)
    for _ in range(FARTHEST):
        moves[np.arange(MOVES), rng.integers(layers, size=MOVES)] = rng.integers(-2, 3, size=MOVES)
    singles = np.concatenate([np.eye(layers, dtype=np.int64), -np.eye(layers, dtype=np.int64)])
    pairs = (singles[:, None] + singles[None]).reshape(-1, layers)
    return (places + np.concatenate([moves, singles, pairs])).clip(lowest, highest)
