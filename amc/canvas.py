"""How every picture looks: colours, letters, frame. Drawn on matplotlib's objects, without pyplot's global state."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from matplotlib.axes import Axes
from matplotlib.figure import Figure

WIDTH_INCHES = 5.0
DOTS_PER_INCH = 180
NORMAL, SMALL = 10, 9
SERIES_A_LINE = 3


@dataclass(frozen=True)
class Palette:
    """Colours of a picture: paper and ink, quiet lines, single trials, and the two networks compared."""

    paper: str
    ink: str
    quiet: str
    trial: str
    found: str
    uniform: str


LIGHT = Palette(paper="#ffffff", ink="#1c2530", quiet="#d9dee4", trial="#87919d", found="#0072b2", uniform="#d55e00")
DARK = Palette(paper="#161b22", ink="#e4e9ef", quiet="#37404b", trial="#8d98a5", found="#56b4e9", uniform="#e69f00")


def new_axes(height_inches: float, palette: Palette) -> Axes:
    """Return the axes of a new figure; it is ``axes.figure``."""
    figure = Figure((WIDTH_INCHES, height_inches), dpi=DOTS_PER_INCH, layout="constrained", facecolor=palette.paper)
    axes = figure.add_subplot(facecolor=palette.paper)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(palette.ink)
    axes.grid(axis="y", color=palette.quiet, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(colors=palette.ink, labelsize=SMALL, length=0)
    for label in (axes.xaxis.label, axes.yaxis.label):
        label.set(color=palette.ink, fontsize=NORMAL)
    return axes


def finish(axes: Axes, title: str, series: Sequence[str], palette: Palette) -> Figure:
    """Put the title and the names of the series above the picture, and return its figure.

    Args:
        axes: what :func:`new_axes` gave.
        title: what the picture shows.
        series: labels in the order to name them; those that were not drawn are left out.
        palette: the figure's colours.
    """
    drawn = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    named = [label for label in series if label in drawn]
    lines = math.ceil(len(named) / SERIES_A_LINE)
    pad = NORMAL + lines * 1.5 * SMALL
    axes.set_title(title, loc="left", fontsize=NORMAL + 1, fontweight="bold", color=palette.ink, pad=pad)
    axes.legend(
        [drawn[label] for label in named],
        named,
        loc="lower left",
        bbox_to_anchor=(0, 1),
        ncols=SERIES_A_LINE,
        frameon=False,
        fontsize=SMALL,
        labelcolor=palette.ink,
        handletextpad=0.4,
        columnspacing=1.2,
        borderpad=0.2,
        borderaxespad=0.2,
    )
    return cast(Figure, axes.figure)
