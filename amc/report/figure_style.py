"""How every picture looks: colours, letters, frame. Drawn on matplotlib's objects, without pyplot's global state."""

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import cast

from matplotlib.axes import Axes
from matplotlib.figure import Figure

WIDTH_INCHES = 5.0
DOTS_PER_INCH = 180
NORMAL, SMALL = 10, 9
SERIES_A_LINE = 3
LONGEST_NAME = 28
Points = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Palette:
    """Colours of a picture: paper and ink, quiet lines, trials, the two networks compared, and further series."""

    paper: str
    ink: str
    quiet: str
    trial: str
    found: str
    uniform: str
    others: tuple[str, ...]


LIGHT = Palette(
    paper="#ffffff",
    ink="#1c2530",
    quiet="#d9dee4",
    trial="#87919d",
    found="#0072b2",
    uniform="#d55e00",
    others=("#009e73", "#cc79a7", "#8a6d00", "#56b4e9", "#1c2530", "#8c4bb8"),
)
DARK = Palette(
    paper="#161b22",
    ink="#e4e9ef",
    quiet="#37404b",
    trial="#8d98a5",
    found="#56b4e9",
    uniform="#e69f00",
    others=("#2fc49a", "#e19cc3", "#f0e442", "#9db7ff", "#e4e9ef", "#c39be0"),
)


class Drawing(Figure):
    """A figure that a notebook shows where it is a cell's last value, whatever backend there is."""

    def _repr_png_(self) -> bytes:
        """Return it as a PNG file."""
        buffer = io.BytesIO()
        self.savefig(buffer, format="png")
        return buffer.getvalue()


def new_axes(height_inches: float, palette: Palette) -> Axes:
    """Return the axes of a new figure; it is ``axes.figure``."""
    return new_panels(height_inches, 1, 1, palette)[0]


def new_panels(height_inches: float, panels: int, columns: int, palette: Palette) -> list[Axes]:
    """Return axes of a new figure, side by side in rows of ``columns``, with common scales."""
    figure = Drawing((WIDTH_INCHES, height_inches), dpi=DOTS_PER_INCH, layout="constrained", facecolor=palette.paper)
    rows = math.ceil(panels / columns)
    axes: list[Axes] = []
    for number in range(1, panels + 1):
        first = axes[0] if axes else None
        axes.append(figure.add_subplot(rows, columns, number, sharex=first, sharey=first, facecolor=palette.paper))
        _style(axes[-1], palette)
    return axes


def _style(axes: Axes, palette: Palette) -> None:
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(palette.ink)
    axes.grid(axis="y", color=palette.quiet, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(colors=palette.ink, labelsize=SMALL, length=0)
    for label in (axes.xaxis.label, axes.yaxis.label):
        label.set(color=palette.ink, fontsize=NORMAL)


def finish(axes: Axes, title: str, series: Sequence[str], palette: Palette) -> Figure:
    """Put the title and the names of the series above the picture, and return its figure.

    Args:
        axes: what :func:`new_axes` gave, or one of several that hold the same series.
        title: what the picture shows.
        series: labels in the order to name them; those that were not drawn are left out.
        palette: the figure's colours.
    """
    figure = cast(Figure, axes.figure)
    drawn = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    named = [label for label in series if label in drawn]
    for columns in range(SERIES_A_LINE, 0, -1):
        legend = figure.legend(
            [drawn[label] for label in named],
            named,
            title=title,
            title_fontproperties={"size": NORMAL + 1, "weight": "bold"},
            alignment="left",
            loc="outside upper left",
            ncols=columns,
            frameon=False,
            fontsize=SMALL,
            labelcolor=palette.ink,
            handletextpad=0.4,
            columnspacing=1.2,
            borderaxespad=0.2,
        )
        legend.get_title().set_color(palette.ink)
        if columns == 1 or legend.get_window_extent().width <= figure.bbox.width:
            break
        legend.remove()
    return figure


def cut_the_bottom(axes: Axes, points: Points, palette: Palette, judged: Points = ()) -> str:
    """Spend the height on the better half of the points.

    Points far below are marked at the lower edge instead of hidden, under the label returned.

    Args:
        axes: where the points are drawn.
        points: all of them.
        palette: the figure's colours.
        judged: those among them whose better half is to be seen; none for all.
    """
    heights = [height for _, height in points]
    middle_of = [height for _, height in judged or points]
    top = max(heights)
    floor = max(middle_of) - 3 * (max(middle_of) - median(middle_of))
    below = [x for x, height in points if height < floor]
    label = f"{len(below)} further below"
    if below and floor < top:
        margin = 0.06 * (top - floor)
        axes.set_ylim(floor - margin, top + margin)
        axes.scatter(below, [floor] * len(below), s=16, color=palette.trial, marker="v", label=label)
    return label


def short(name: str, longest: int = LONGEST_NAME) -> str:
    """Return the end of a name that is too long to stand beside a picture."""
    return name if len(name) <= longest else f"…{name[1 - longest :]}"
