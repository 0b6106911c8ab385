"""What predicts latencies from a table: its layers' times, and the factors that fit its networks."""

from collections.abc import Mapping, Sequence
from math import gcd, inf
from statistics import median
from typing import NamedTuple

import numpy as np

from amc.runtimes.table import LatencyTable, LayerRow, block_of
from envs.engine.latency import (
    KINDS,
    CountTimes,
    FloatArray,
    LayerShape,
    TableModel,
    TimedLayer,
    features_of,
    is_whole,
    monotone,
)

PRIOR = 0.1
"""Weight of what is expected of the factors beside the networks measured."""
WHOLE = 2.0
"""Weight of the whole network, which targets are fractions of, beside one that was cut from it."""
CACHES, CLEARLY = 8, 0.9
"""Sizes of the cache that are tried, among those of the networks; and of the error without one, what one must leave."""
FITS, USUAL = 8, 0.05
"""Rounds of the fit, and the relative error from which on a network counts by its distance, not by its square."""


def fit(table: LatencyTable) -> TableModel:
    """Return what predicts latencies from a table: its layers, and the factors that fit its networks best.

    The factors are not negative, so that a network which keeps more never counts as faster. What all networks have
    alike may be: a layer that is timed takes a little longer than one that is not.
    """
    block = block_of(table)
    times = {row.shape: _count_times(row, block) for row in table.layers}
    measured = np.array([row.ms for row in table.networks])
    networks = networks_of(table)
    weights = [features_of(times, layers, 0.0)[-2] for layers in networks]
    without = _fitted(times, networks, measured, inf)
    sizes = np.quantile(weights, np.linspace(0, 1, CACHES, endpoint=False))
    best = min((_fitted(times, networks, measured, float(cache)) for cache in sizes), key=lambda each: each.error)
    cache, coefficients, _ = best if best.error < CLEARLY * without.error else without
    *factors, per_value, per_weight, overhead = map(float, coefficients)
    return TableModel(times, dict(zip(KINDS, factors, strict=True)), overhead, per_value, cache, per_weight)


class _Fit(NamedTuple):
    """With a cache of some size, what the features of networks count for, and the sum of relative errors."""

    cache: float
    coefficients: FloatArray
    error: float


def _fitted(
    times: Mapping[LayerShape, CountTimes], networks: Sequence[Sequence[TimedLayer]], measured: FloatArray, cache: float
) -> _Fit:
    features = np.array([features_of(times, layers, cache) for layers in networks])
    coefficients = _coefficients(features, measured)
    off = np.abs(features @ coefficients / measured - 1)
    importance = np.ones(len(off))
    importance[0] = WHOLE
    return _Fit(cache, coefficients, float(importance @ off))


def _coefficients(features: FloatArray, measured: FloatArray) -> FloatArray:
    """Return what the features of networks count for, by the relative errors of their milliseconds."""
    from scipy.optimize import lsq_linear  # it takes a second to import, and a search by FLOPs does without

    # Relative errors count, so that small networks are not lost beside the large.
    relative = features / measured[:, None]
    # Layers of two families grow together in most networks: what the fit leaves open is that they take what they take
    # by themselves, and the rest nothing.
    trust = np.array([PRIOR] * (len(KINDS) + 1) + [PRIOR / 10] * 2)
    prior = np.diag(trust * len(measured) ** 0.5 * relative.mean(0))
    found = wanted = np.array([1.0] * len(KINDS) + [0.0] * 3)
    lowest = np.where(np.arange(len(wanted)) < len(wanted) - 1, 0.0, -np.inf)
    importance = np.ones(len(measured))
    importance[0] = WHOLE
    for _ in range(FITS):
        # A network that was disturbed while it was measured is far off, and must not draw the others with it.
        off = np.maximum(np.abs(relative @ found - 1), USUAL)
        weights = importance if found is wanted else importance * (USUAL / off) ** 0.5
        rows, aims = np.vstack([weights[:, None] * relative, prior]), np.concatenate([weights, prior @ wanted])
        found = lsq_linear(rows, aims, (lowest, np.inf)).x
    return found


def networks_of(table: LatencyTable) -> list[list[TimedLayer]]:
    """Return the layers of the networks that were measured, the whole network first."""
    shapes = [row.shape for row in table.layers]
    return [[TimedLayer(shapes[layer], i, o, n) for layer, i, o, n in row.layers] for row in table.networks]


def _count_times(row: LayerRow, block: int) -> CountTimes:
    times = dict(zip(row.counts, row.ms, strict=True))
    if row.kind == "depthwise":
        columns = _whole([pair[1] for pair in row.counts])
        grid = np.array([[times[count, count] for count in columns]])
        rows = [columns[-1]]
    else:
        rows, columns = (_whole([pair[side] for pair in row.counts]) for side in (0, 1))
        rows = [i for i in rows if all((i, o) in times for o in columns)]
        grid = np.array([[times[i, o] for o in columns] for i in rows])
    smooth = CountTimes(np.array(rows, float), np.array(columns, float), monotone(grid), block, ({}, {}))
    penalties = (
        ({}, _penalties(row, smooth, 1))
        if row.kind == "depthwise"
        else tuple(_penalties(row, smooth, side) for side in (0, 1))
    )
    return CountTimes(smooth.inputs, smooth.outputs, smooth.milliseconds, block, (penalties[0], penalties[1]))


def _whole(counts: Sequence[int]) -> list[int]:
    """Return the counts of the grid, ascending."""
    return sorted({count for count in counts if is_whole(count, max(counts))})


def _penalties(row: LayerRow, smooth: CountTimes, side: int) -> Mapping[int, float]:
    """Return what counts that are no multiple of the block cost more, by the power of two that divides them."""
    found: dict[int, list[float]] = {}
    other = 1 - side
    axes = (smooth.inputs, smooth.outputs)
    for pair, ms in zip(row.counts, row.ms, strict=True):
        odd, even = not is_whole(pair[side], int(axes[side][-1])), pair[other] in axes[other]
        if odd and (even or row.kind == "depthwise"):
            found.setdefault(gcd(pair[side], smooth.block), []).append(ms / smooth.at(*pair))
    return {power: max(1.0, median(ratios)) for power, ratios in found.items()}
