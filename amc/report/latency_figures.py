"""Pictures of time: the staircase of a layer, and accuracy against milliseconds."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from amc.report.figure_style import LIGHT, Palette, cut_the_bottom, finish, new_axes
from amc.store.results import Result
from envs.search import Trial

HEIGHT_INCHES = 3.4
TRIALS, OVER, FRONT, LIMIT = "trials, predicted", "over the target", "best for the time", "target"


class TableFacts(NamedTuple):
    """What a table of latencies says, as far as it is drawn.

    Attributes:
        dense: seconds that it predicts for the dense network.
        layer: the layer that shows the staircase, in words.
        channels: its milliseconds by number of channels, for ``inputs`` and ``outputs``.
    """

    dense: float
    layer: str
    channels: Mapping[str, Sequence[tuple[int, float]]]


def staircase_figure(stairs: TableFacts, palette: Palette = LIGHT) -> Figure:
    """Draw what a layer takes with every number of channels: runtimes compute them in blocks."""
    axes = new_axes(HEIGHT_INCHES, palette)
    series = []
    for (side, points), colour in zip(stairs.channels.items(), (palette.found, palette.uniform), strict=False):
        x, y = zip(*points, strict=True)
        axes.plot(x, [1000 * ms for ms in y], color=colour, linewidth=1, marker="o", markersize=3, label=side)
        series.append(side)
    axes.set(xlabel="channels", ylabel="microseconds", ylim=(0, None))
    axes.xaxis.set_major_locator(MaxNLocator(8, steps=[1, 2, 4, 8]))
    return finish(axes, f"Time of a layer: {stairs.layer}", series, palette)


def milliseconds_figure(
    result: Result, trials: Sequence[Trial], table: TableFacts | None, palette: Palette = LIGHT
) -> Figure | None:
    """Draw accuracy on the search split against milliseconds; ``None`` where trials know no latency.

    The three networks of the run stand where they were measured. Trials are as much faster than the dense network as
    the table of latencies predicts.
    """
    known = [(trial.cost.latency, trial) for trial in trials if trial.cost.latency is not None]
    if not known or table is None:
        return None
    placed = [(result.dense.latency_ms * seconds / table.dense, trial) for seconds, trial in known]
    axes = new_axes(HEIGHT_INCHES, palette)
    within = [(ms, trial.evaluation.metric) for ms, trial in placed if trial.feasible]
    over = [(ms, trial.evaluation.metric) for ms, trial in placed if not trial.feasible]
    for points, face, label in ((within, palette.trial, TRIALS), (over, "none", OVER)):
        if points:
            x, y = zip(*points, strict=True)
            axes.scatter(x, y, s=13, facecolors=face, edgecolors=palette.trial, linewidths=0.8, label=label)
    front = pareto_front([*within, *over])
    axes.step(*zip(*front, strict=True), where="post", color=palette.trial, linewidth=1.2, label=FRONT)
    measured = []
    for scores, marker, area, colour, label in (
        (result.uniform, "D", 45, palette.uniform, "uniform, measured"),
        (result.pruned, "*", 150, palette.found, "found, measured"),
    ):
        measured.append((scores.latency_ms, scores.search_top1))
        axes.scatter(
            *measured[-1], s=area, color=colour, marker=marker, edgecolors=palette.paper, label=label, zorder=3
        )
    axes.axvline(result.dense.latency_ms, color=palette.ink, linewidth=1, label="dense, measured")
    if result.resource == "latency":
        limit = result.target * result.dense.latency_ms
        axes.axvline(limit, color=palette.ink, linewidth=1, linestyle="--", label=LIMIT)
    axes.set(xlabel="milliseconds", ylabel="top-1 on the search split")
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    below = cut_the_bottom(axes, [*within, *over, *measured], palette, [*within, *measured])
    series = ("found, measured", "uniform, measured", "dense, measured", TRIALS, OVER, FRONT, LIMIT, below)
    return finish(axes, "Accuracy against time", series, palette)


def pareto_front(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the points that no faster one reaches, from the fastest on."""
    front: list[tuple[float, float]] = []
    for point in sorted(points, key=lambda point: (point[0], -point[1])):
        if not front or point[1] > front[-1][1]:
            front.append(point)
    return front
