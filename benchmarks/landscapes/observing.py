"""What of a strategy foretells its score: before any episode, and to a critic that has learnt from some."""

from collections.abc import Callable, Mapping

import numpy as np
from scipy.stats import spearmanr

from amc.agent.outcome import Array, OutcomeModel
from baselines.least_error import as_compounded
from benchmarks.landscapes.catalog import TARGETS
from benchmarks.landscapes.records import Record, Row
from benchmarks.record import Row as Figures
from envs.landscapes.description import Description

EPISODES = (8, 20, 40)
DRAWS = 4
FEWEST = 50
WORST = 0.3
"""Share of a target's strategies that is left out: no search looks at those for long."""

Sight = Callable[[Array, Array], Array]
"""From the ratios and the errors of strategies ``(n, layers)`` to what is seen of them ``(n, features)``."""


def compounded(errors: Array) -> Array:
    """Return compounded errors."""
    return np.array([as_compounded(row) for row in errors.tolist()])


def with_sums(*tables: Array) -> Array:
    """Return tables side by side, and the sum of each over the layers."""
    return np.concatenate([*tables, *(table.sum(1, keepdims=True) for table in tables)], axis=1)


SIGHTS: Mapping[str, Sight] = {
    "what goes of each layer": lambda ratios, _: 1 - ratios,
    "errors": lambda _, errors: errors,
    "errors and their roots": lambda _, errors: np.concatenate([errors, np.sqrt(errors)], axis=1),
    "the same and their sums": lambda _, errors: with_sums(errors, np.sqrt(errors)),
    "errors, compounded errors, and their sums": lambda _, errors: with_sums(compounded(errors), errors),
}


def observe(record: Record) -> Figures:
    """Return rank correlations with the real metric, by target.

    ``before`` any episode are those of the sums of errors, plain and compounded, over all strategies. ``learnt`` are
    those of a critic that has learnt from 8, 20 and 40 of the strategies with what it is let see, on the others.
    """
    figures: Figures = {}
    for target in TARGETS:
        rows = [row for row in record.rows if row.target == target]
        if record.description.errors is not None and len(rows) >= FEWEST:
            figures[str(target)] = _observed(record.description, rows)
    return figures


def _observed(description: Description, rows: list[Row]) -> Figures:
    ratios, errors = _looked_up(description, rows)
    metric = np.array([row.metric for row in rows])
    before = {"errors": errors, "compounded": compounded(errors)}
    kept = np.flatnonzero(metric > np.quantile(metric, WORST))
    return {
        "before": {name: _rank(-table.sum(1), metric) for name, table in before.items()},
        "learnt": {name: _learnt(see(ratios, errors)[kept], metric[kept]) for name, see in SIGHTS.items()},
    }


def _learnt(seen: Array, metric: Array) -> list[float]:
    found = []
    for episodes in EPISODES:
        each = []
        for seed in range(DRAWS):
            order = np.random.default_rng(seed).permutation(len(metric))
            critic = OutcomeModel()
            critic.fit(seen[order[:episodes]], metric[order[:episodes]], settle=True)
            each.append(_rank(critic(seen[order[episodes:]]).mean, metric[order[episodes:]]))
        found.append(round(float(np.mean(each)), 3))
    return found


def _rank(told: Array, real: Array) -> float:
    return round(float(spearmanr(told, real).statistic), 3)


def _looked_up(description: Description, rows: list[Row]) -> tuple[Array, Array]:
    assert description.errors is not None
    ratios, errors = [], []
    for row in rows:
        steps = list(zip(description.layers, description.errors, row.kept, strict=True))
        ratios.append([kept / layer.units for layer, _, kept in steps])
        errors.append([known[layer.choices.index(kept) - len(layer.choices)] for layer, known, kept in steps])
    return np.array(ratios), np.array(errors)
