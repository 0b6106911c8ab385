"""Pictures of a run: the reward over episodes, accuracy against resource, the kept channels per layer.

The colours stay apart under the common kinds of colour blindness, and every series has its own marker too. Figures
are narrow, so that their letters stay readable on a phone.

References:
    Okabe and Ito, 2008, "Color Universal Design".
"""

import io
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator, PercentFormatter

from amc.report.figure_style import LIGHT, SMALL, Palette, Points, cut_the_bottom, finish, new_axes, short
from amc.report.latency_figures import TableFacts, milliseconds_figure, staircase_figure
from amc.report.network_figure import network_figure
from amc.report.sensitivity_figure import sensitivity_figure
from amc.report.tables import RESOURCES
from amc.store.kept_layers import LayerKept
from amc.store.results import Result
from envs.engine.choices import UNITS
from envs.search import Trial, better

HEIGHT_INCHES = 3.4
BAR_INCHES = 0.21
TRIALS, OVER, TARGET = "trials", "over the target", "target"


def figures(
    result: Result, trials: Sequence[Trial], palette: Palette = LIGHT, table: TableFacts | None = None
) -> dict[str, Figure]:
    """Draw every picture of a run, by name; that of single layers where some were pruned by themselves.

    Args:
        result: what the run found.
        trials: all its trials, in order.
        palette: colours.
        table: of latencies, where the search went by one.
    """
    units = UNITS.get(result.granularity, "units")
    drawn = {
        "reward": reward_figure(trials, palette),
        "resource": resource_figure(result, trials, palette),
        "channels": channels_figure(result.strategy, result.uniform_strategy, palette, units),
    }
    if result.network:
        drawn["network"] = network_figure(result.network, result.strategy, palette, units)
    times = milliseconds_figure(result, trials, table, palette)
    if times is not None:
        drawn["milliseconds"] = times
    if table is not None and table.channels:
        drawn["staircase"] = staircase_figure(table, palette)
    # Of a staged run the trials are strategies of what the stage before the last left.
    played = result.stages[-1].strategy if result.stages else result.strategy
    sensitivity = sensitivity_figure(trials, played, palette)
    return drawn if sensitivity is None else drawn | {"sensitivity": sensitivity}


def png(figure: Figure) -> bytes:
    """Return ``figure`` as a PNG file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def best_so_far(trials: Sequence[Trial]) -> list[tuple[float, float]]:
    """Return (episode, reward) of every trial that was the best feasible one when it ended."""
    steps: list[tuple[float, float]] = []
    best: Trial | None = None
    for trial in trials:
        best = better(trial, best)
        if best is trial:
            steps.append((trial.index + 1, trial.reward))
    return steps


def reward_figure(trials: Sequence[Trial], palette: Palette = LIGHT) -> Figure:
    """Draw the reward of every trial, and the best so far."""
    axes = new_axes(HEIGHT_INCHES, palette)
    within = [(trial.index + 1, trial.reward) for trial in trials if trial.feasible]
    _scatter_trials(axes, within, TRIALS, palette)
    over = [(trial.index + 1, trial.reward) for trial in trials if not trial.feasible]
    _scatter_trials(axes, over, OVER, palette, filled=False)
    steps = best_so_far(trials)
    if steps:
        x, y = zip(*steps, (len(trials), steps[-1][1]), strict=True)
        axes.step(x, y, where="post", color=palette.found, linewidth=2, label="best so far")
    axes.set(xlabel="episode", ylabel="reward", xlim=(0, len(trials) + 1))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    below = cut_the_bottom(axes, [*within, *over], palette, within)
    return finish(axes, f"Reward over {len(trials)} episodes", ("best so far", TRIALS, OVER, below), palette)


def resource_figure(result: Result, trials: Sequence[Trial], palette: Palette = LIGHT) -> Figure:
    """Draw accuracy on the search split against what the search limits; against FLOPs where that is measured time."""
    limited = result.resource if result.resource in RESOURCES else "flops"
    field, name = RESOURCES[limited]
    dense: float = getattr(result.dense, field)
    axes = new_axes(HEIGHT_INCHES, palette)
    place = {trial.index: (getattr(trial.cost, limited) / dense, trial.evaluation.metric) for trial in trials}
    points = [place[trial.index] for trial in trials if trial.feasible]
    over = [place[trial.index] for trial in trials if not trial.feasible]
    _scatter_trials(axes, points, TRIALS, palette)
    _scatter_trials(axes, over, OVER, palette, filled=False)
    for scores, marker, area, colour, label in (
        (result.uniform, "D", 45, palette.uniform, "uniform, fine-tuned"),
        (result.pruned, "*", 150, palette.found, "found, fine-tuned"),
    ):
        point = (getattr(scores, field) / dense, scores.search_top1)
        axes.scatter(*point, s=area, color=colour, marker=marker, edgecolors=palette.paper, label=label, zorder=3)
        points.append(point)
    if result.resource == limited:
        axes.axvline(result.target, color=palette.ink, linewidth=1, linestyle="--", label=TARGET)
    axes.set(xlabel=f"{name} kept", ylabel="top-1 on the search split")
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    below = cut_the_bottom(axes, [*points, *over], palette, points)
    series = ("found, fine-tuned", "uniform, fine-tuned", TRIALS, OVER, TARGET, below)
    return finish(axes, f"Accuracy against {name}", series, palette)


def channels_figure(
    found: Sequence[LayerKept], uniform: Sequence[LayerKept], palette: Palette = LIGHT, units: str = "channels"
) -> Figure:
    """Draw the channels, or other units, that each layer keeps, as a share of the dense network's."""
    axes = new_axes(1.1 + BAR_INCHES * len(found), palette)
    rows = range(len(found))
    axes.barh(rows, [1.0] * len(found), 0.72, color=palette.quiet, label="dense")
    axes.barh(rows, [layer.kept / layer.of for layer in found], 0.72, color=palette.found, label="found")
    x, y = [layer.kept / layer.of for layer in uniform], range(len(uniform))
    ticks = axes.scatter(x, y, s=80, color=palette.uniform, marker="|", linewidths=2.4, label="uniform", zorder=3)
    ticks.set_path_effects([withStroke(linewidth=5, foreground=palette.paper)])
    # Names are drawn as they are: a dollar sign in the name of a user's layer starts no formula.
    axes.set_yticks(rows, [short(layer.layer) for layer in found], parse_math=False)
    for row, layer in enumerate(found):
        axes.text(1.02, row, f"{layer.kept} of {layer.of}", va="center", fontsize=SMALL - 1, color=palette.ink)
    axes.set(xlim=(0, 1), ylim=(len(found) - 0.4, -0.6))
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    axes.grid(visible=False)
    return finish(axes, f"{units.capitalize()} kept per layer", ("dense", "uniform", "found"), palette)


def _scatter_trials(axes: Axes, points: Points, label: str, palette: Palette, *, filled: bool = True) -> None:
    if points:
        x, y = zip(*points, strict=True)
        face = palette.trial if filled else "none"
        axes.scatter(x, y, s=13, facecolors=face, edgecolors=palette.trial, linewidths=0.8, label=label)
