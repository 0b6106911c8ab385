"""Pictures of a problem: best so far, accuracy against resource, and the strategies side by side."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter
from numpy.typing import NDArray

from amc.comparison.names import drawn
from amc.comparison.rivals import AGAINST, UNIFORM
from amc.comparison.statistics import best_metrics, pareto
from amc.comparison.study import Policy, Problem, Run
from amc.comparison.summary import best_run, kept, limited
from amc.report.figure_style import LIGHT, SMALL, Palette, finish, new_axes, short
from amc.report.tables import RESOURCES
from amc.store.kept_layers import LayerKept

HEIGHT_INCHES = 3.6
ROW_INCHES, MOST_INCHES = 0.21, 24.0
MARKERS = "osD^vPX*"
LONGEST_LABEL = 24
MOST_UPRIGHT = 4
Curves = NDArray[np.float64]
FOUND, TARGET = "networks found", "target"
# Where the dark colour begins, on which letters have to be light.
DARK_CELL = 0.55


def comparison_figures(problem: Problem, palette: Palette = LIGHT) -> dict[str, Figure]:
    """Draw every picture of a problem, by name."""
    return {
        "curves": curves_figure(problem, palette),
        "front": front_figure(problem, palette),
        "strategies": strategies_figure(problem, palette),
    }


def curves_figure(problem: Problem, palette: Palette = LIGHT) -> Figure:
    """Draw the best so far on the search split over evaluations: the mean over seeds, in a band from lowest to highest.

    A search that ended before others of its policy keeps its best; a dotted line carries on a policy's result to the
    longest search.
    """
    axes = new_axes(HEIGHT_INCHES, palette)
    curves = {policy.name: _curves(policy) for policy in problem.policies}
    longest = max(curve.shape[1] for curve in curves.values())
    for number, (policy, curve) in enumerate(curves.items()):
        style = _style(number, policy, list(curves), palette)
        colour = style["color"]
        evaluations = np.arange(1, curve.shape[1] + 1)
        mean = curve.mean(axis=0)
        if len(curve) > 1:
            axes.fill_between(evaluations, curve.min(axis=0), curve.max(axis=0), color=colour, alpha=0.18, step="post")
        marks = max(1, len(mean) // 6)
        every = (number * marks // len(curves), marks)
        axes.step(evaluations, mean, where="post", label=_label(policy), markevery=every, **style)
        axes.plot([len(mean), longest], [mean[-1]] * 2, color=colour, linewidth=1, linestyle=":")
    axes.set(xlabel="evaluations", ylabel="top-1 on the search split", xlim=(0, longest + 1))
    axes.set_ylim(*_worth_seeing(list(curves.values())))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    _percent_heights(axes)
    return finish(axes, "Best so far", [_label(policy) for policy in curves], palette)


def front_figure(problem: Problem, palette: Palette = LIGHT) -> Figure:
    """Draw every trial within the target, each policy's Pareto front, and the networks found, fine-tuned."""
    axes = new_axes(HEIGHT_INCHES, palette)
    names = [policy.name for policy in problem.policies]
    result = problem.runs[0].result
    _, resource = limited(result)
    heights: list[float] = []
    for number, policy in enumerate(problem.policies):
        style = _style(number, policy.name, names, palette)
        colour = style["color"]
        if points := [point for run in policy.runs for point in _feasible(run)]:
            x, y = zip(*points, strict=True)
            axes.scatter(x, y, s=9, color=colour, alpha=0.35, marker=style["marker"], linewidths=0)
            axes.step(*zip(*pareto(points), strict=True), where="post", label=_label(policy.name), **style)
            heights += y
        found = [(kept(run.result.pruned, run.result), run.result.pruned.search_top1) for run in policy.runs]
        found_x, found_y = zip(*found, strict=True)
        axes.scatter(found_x, found_y, s=130, color=colour, marker="*", edgecolors=palette.paper, zorder=4)
        heights += found_y
    axes.scatter([], [], s=110, color=palette.ink, marker="*", label=FOUND)
    if result.resource in RESOURCES:
        axes.axvline(result.target, color=palette.ink, linewidth=1, linestyle="--", label=TARGET)
    axes.set(xlabel=f"{resource} kept", ylabel="top-1 on the search split")
    axes.set_ylim(*_upper_half(heights))
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    _percent_heights(axes)
    return finish(axes, f"Accuracy against {resource}", [*map(_label, names), FOUND, TARGET], palette)


def strategies_figure(problem: Problem, palette: Palette = LIGHT) -> Figure:
    """Draw the share of channels that each layer keeps: uniform ratios, then the best seed of each policy."""
    best = {policy.name: best_run(policy).result for policy in problem.policies}
    columns = [(UNIFORM, next(iter(best.values())).uniform_strategy)]
    columns += [(_label(name), result.strategy) for name, result in best.items() if name != UNIFORM]
    _, layers = columns[0]
    axes = new_axes(min(1.2 + ROW_INCHES * len(layers), MOST_INCHES), palette)
    shares = np.array([[_share(layer) for layer in column] for _, column in columns]).T
    colours = LinearSegmentedColormap.from_list("kept", [palette.paper, palette.found])
    axes.imshow(shares, cmap=colours, vmin=0, vmax=1, aspect="auto")
    if ROW_INCHES * len(layers) < MOST_INCHES:
        _write_cells(axes, shares, palette)
        axes.set_yticks(range(len(layers)), [short(drawn(layer.layer)) for layer in layers])
    slanted = len(columns) > MOST_UPRIGHT
    names = [name for name, _ in columns]
    axes.set_xticks(range(len(names)), names, rotation=30 * slanted, ha="left" if slanted else "center")
    axes.tick_params(labeltop=True, labelbottom=False)
    axes.spines["bottom"].set_visible(False)
    axes.grid(visible=False)
    return finish(axes, "Channels kept per layer, in percent", (), palette)


def _curves(policy: Policy) -> Curves:
    """Best so far of every seed, one row each; a seed that ended early keeps its best."""
    curves = [best_metrics(run.trials) for run in policy.runs]
    longest = max(map(len, curves))
    return np.array([[*curve, *[curve[-1]] * (longest - len(curve))] for curve in curves])


def _feasible(run: Run) -> list[tuple[float, float]]:
    """Resource kept and search metric of the trials within the target."""
    field, _ = limited(run.result)
    cost = {"memory_bytes": "memory"}.get(field, field)
    dense: float = getattr(run.result.dense, field)
    costs = [(getattr(trial.cost, cost), trial.evaluation.metric) for trial in run.trials if trial.feasible]
    return [(value / dense, metric) for value, metric in costs if value is not None]


def _percent_heights(axes: Axes) -> None:
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.yaxis.set_major_formatter(PercentFormatter(1))


def _worth_seeing(curves: Sequence[Curves]) -> tuple[float, float]:
    """The range of heights after the first tenth of every search, in which random trials alone decide."""
    late = np.concatenate([curve[:, curve.shape[1] // 10 :].ravel() for curve in curves])
    late = late[np.isfinite(late)]
    return _margins(float(late.min()), float(late.max()))


def _upper_half(heights: Sequence[float]) -> tuple[float, float]:
    """The range of the better half of the trials and as much again below."""
    top, middle = max(heights), float(np.median(heights))
    return _margins(max(min(heights), top - 2.5 * (top - middle)), top)


def _margins(low: float, high: float) -> tuple[float, float]:
    margin = 0.06 * (high - low) or 0.01
    return low - margin, high + margin


def _write_cells(axes: Axes, shares: Curves, palette: Palette) -> None:
    for (row, column), share in np.ndenumerate(shares):
        ink = palette.paper if share > DARK_CELL else palette.ink
        axes.text(column, row, f"{100 * share:.0f}", ha="center", va="center", fontsize=SMALL - 1, color=ink)


def _share(layer: LayerKept) -> float:
    return layer.kept / layer.of


def _label(name: str) -> str:
    return drawn(name, LONGEST_LABEL)


def _colour(name: str, names: Sequence[str], palette: Palette) -> str:
    """The method and uniform ratios have the colours that they have in a run's report, in every comparison."""
    if name == AGAINST:
        return palette.found
    if name == UNIFORM:
        return palette.uniform
    others = [other for other in names if other not in {AGAINST, UNIFORM}]
    return palette.others[others.index(name) % len(palette.others)]


def _style(number: int, name: str, names: Sequence[str], palette: Palette) -> dict[str, Any]:
    marker = MARKERS[number % len(MARKERS)]
    return {"color": _colour(name, names, palette), "marker": marker, "markersize": 4.5, "linewidth": 1.7}
