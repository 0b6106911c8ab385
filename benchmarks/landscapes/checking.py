"""Is a surrogate as good as the network it stands for? Real evaluations of policies that it was not fitted to, say."""

from itertools import combinations

import numpy as np
from scipy.stats import spearmanr

from benchmarks.landscapes.fitting import sample_of, scatter
from benchmarks.landscapes.records import Record, Row
from benchmarks.record import Row as Figures
from envs.landscapes.files import Landscape

OUTPUTS = ("metric", "loss", "divergence")


def check(record: Record, landscape: Landscape) -> Figures:
    """Return how well the surrogate ranks the strategies of policies that were not recorded, and the policies."""
    rows = record.held_out()
    if not rows:
        return {"rows": len(record.fitted()), "held_out": 0}
    sample = sample_of(record.description, rows)
    told = landscape.surrogate.outputs(sample.features)
    figures: Figures = {"rows": len(record.fitted()), "held_out": len(rows)}
    for place, name in enumerate(OUTPUTS):
        signs = 1 if name == "metric" else -1
        figures[name] = round(float(spearmanr(signs * told[:, place], signs * sample.targets[:, place]).statistic), 4)
    figures["noise"] = scatter(sample_of(record.description, record.fitted())).round(4).tolist()
    figures["policies_in_order"] = _orders(rows, told[:, 0])
    return figures


def _orders(rows: list[Row], told: np.ndarray) -> Figures:
    """Return in how many pairs of searches at one target the better one is better on the surrogate, too."""
    best: dict[tuple[float, str], tuple[float, float]] = {}
    for row, value in zip(rows, told.tolist(), strict=True):
        key = (row.target, row.source)
        real, model = best.get(key, (-np.inf, -np.inf))
        best[key] = (max(real, row.metric), max(model, value))
    pairs = [
        (one, other) for (a, one), (b, other) in combinations(best.items(), 2) if a[0] == b[0] and one[0] != other[0]
    ]
    agree = sum((one[0] > other[0]) == (one[1] > other[1]) for one, other in pairs)
    return {"pairs": len(pairs), "agree": agree}
