"""Tables of regrets: means with intervals, ranks, and paired tests."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from amc.comparison.statistics import paired
from benchmarks.record import Row

OURS = "amc"
RESAMPLES = 2000
Regrets = NDArray[np.float64]
"""By landscape and target (rows) and seed (columns)."""


def regrets_of(rows: Sequence[Row], episodes: int) -> dict[str, dict[tuple[str, float], dict[int, float]]]:
    """Return the regret of every policy after so many evaluations, by landscape and target and by seed."""
    found: dict[str, dict[tuple[str, float], dict[int, float]]] = defaultdict(lambda: defaultdict(dict))
    for row in rows:
        game = row["game"]
        found[game["policy"]][game["landscape"], game["target"]][game["seed"]] = row["regret"][str(episodes)]
    return {policy: dict(cells) for policy, cells in found.items()}


def table(regrets: Mapping[tuple[str, float], Mapping[int, float]], seeds: Sequence[int]) -> Regrets:
    """Return a policy's regrets as a matrix; one seed that stands for all is repeated."""
    return np.array([[cell.get(seed, cell[min(cell)]) for seed in seeds] for cell in regrets.values()])


def interval(regrets: Regrets) -> list[float]:
    """Return the 95% bootstrap interval of the mean, over landscapes and over the seeds on each."""
    rng = np.random.default_rng(0)
    cells, seeds = regrets.shape
    chosen = rng.integers(cells, size=(RESAMPLES, cells, 1))
    within = rng.integers(seeds, size=(RESAMPLES, cells, seeds))
    means = regrets[chosen, within].mean((1, 2))
    low, high = np.quantile(means, (0.025, 0.975)).round(4).tolist()
    return [low, high]


def summary(rows: Sequence[Row], episodes: int, seeds: Sequence[int]) -> dict[str, Row]:
    """Return by policy the mean regret, its interval, the mean rank, and a paired test against ours, best first.

    Policies that cannot play everywhere are compared where they can; ranks are among those that play everywhere.
    """
    found = regrets_of(rows, episodes)
    cells = set().union(*(policy.keys() for policy in found.values()))
    tables = {name: table(policy, seeds) for name, policy in found.items()}
    everywhere = [name for name, policy in found.items() if set(policy) == cells]
    order = list(found[everywhere[0]]) if everywhere else []
    ranked = [table({cell: found[name][cell] for cell in order}, seeds) for name in everywhere]
    ranks = dict(zip(everywhere, rankdata(ranked, axis=0).mean((1, 2)).tolist(), strict=True)) if everywhere else {}
    figures: dict[str, Row] = {}
    for name, values in sorted(tables.items(), key=lambda item: float(item[1].mean())):
        figures[name] = {
            "regret": round(float(values.mean()), 4),
            "interval": interval(values),
            "rank": round(ranks[name], 2) if name in ranks else None,
            "cells": len(values),
        }
        if OURS in found and name != OURS:
            ours = table({cell: found[OURS][cell] for cell in found[name]}, seeds)
            test = paired(ours.ravel().tolist(), values.ravel().tolist())
            figures[name] |= {"ours_less_this": round(test.difference.mean, 4), "p": test.p}
    return figures
