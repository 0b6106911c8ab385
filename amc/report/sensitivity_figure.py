"""A picture of sensitivity curves: the accuracy with one layer pruned, a small panel a layer."""

import math
from collections.abc import Sequence
from typing import cast

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from amc.report.figure_style import LIGHT, NORMAL, SMALL, Palette, finish, new_panels, short
from amc.store.kept_layers import LayerKept
from envs.search import Trial
from envs.sensitivity import SensitivityCurve, sensitivity_curves

COLUMNS = 3
ROW_INCHES, MARGIN_INCHES = 1.05, 1.1
LONGEST_TITLE = 20
ALONE, FOUND = "pruned alone", "kept in the network found"


def sensitivity_figure(trials: Sequence[Trial], found: Sequence[LayerKept], palette: Palette = LIGHT) -> Figure | None:
    """Draw the curves of the layers that trials pruned by themselves, and what the network found keeps of each.

    Args:
        trials: all of a search.
        found: what the network found keeps, layer by layer.
        palette: the figure's colours.

    Returns:
        The figure, or none where no layer was pruned by itself or the dense network was not scored beside.
    """
    curves = sensitivity_curves(trials, [layer.layer for layer in found])
    drawn = [(curve, layer) for curve, layer in zip(curves, found, strict=True) if is_curve(curve)]
    if not drawn:
        return None
    # One row alone would be lower than the name of its scale is long.
    rows = max(2, math.ceil(len(drawn) / COLUMNS))
    panels = new_panels(MARGIN_INCHES + ROW_INCHES * rows, len(drawn), min(COLUMNS, len(drawn)), palette)
    for number, (axes, (curve, layer)) in enumerate(zip(panels, drawn, strict=True)):
        keeps, metrics = zip(*((point.keep, point.evaluation.metric) for point in curve.points), strict=True)
        axes.plot(keeps, metrics, color=palette.ink, linewidth=1.3, marker="o", markersize=3, label=ALONE)
        axes.axvline(layer.keep, color=palette.found, linewidth=1.6, linestyle="--", label=FOUND)
        # Names are drawn as they are: a dollar sign in the name of a user's layer starts no formula.
        name = short(layer.layer, LONGEST_TITLE)
        axes.set_title(name, loc="left", fontsize=SMALL - 1, color=palette.ink, parse_math=False)
        outer = number % COLUMNS == 0, number + COLUMNS >= len(drawn)
        axes.tick_params(labelleft=outer[0], labelbottom=outer[1])
    axes = panels[0]
    axes.set(xlim=(0, 1.04))
    axes.set_xticks([0, 0.5, 1])
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    axes.yaxis.set_major_locator(MaxNLocator(3))
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    return _labelled(axes, palette)


def is_curve(curve: SensitivityCurve) -> bool:
    """Tell whether a curve holds the dense network and one with the layer pruned."""
    return len(curve.points) > 1 and curve.points[-1].keep == 1


def _labelled(axes: Axes, palette: Palette) -> Figure:
    """Put the title, the names of the series and those of the common scales around all panels."""
    figure = cast(Figure, axes.figure)
    figure.supxlabel("channels kept of the layer", color=palette.ink, fontsize=NORMAL)
    figure.supylabel("top-1 on the search split", color=palette.ink, fontsize=NORMAL)
    return finish(axes, "Accuracy with one layer pruned", (ALONE, FOUND), palette)
