"""The network as a picture: a bar a layer, as wide as the layer is, the dense one behind, ties in colours."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from amc.report.figure_style import LIGHT, SMALL, Palette, finish, new_axes, short
from amc.report.layer_table import deciding, outputs_kept, outputs_of
from amc.store.kept_layers import LayerKept
from envs.engine.types import NetworkLayer

BAR_INCHES, FRAME_INCHES = 0.19, 1.1
DENSE, KEPT, TIED, WHOLE = "dense", "kept", "tied: the same channels", "kept whole"
LANE = 0.03
"""Room for the line of one set of ties, as a share of the widest bar."""


def network_figure(
    network: Sequence[NetworkLayer], found: Sequence[LayerKept], palette: Palette = LIGHT, units: str = "channels"
) -> Figure:
    """Draw how wide every layer of a network is, before and after, in forward order from top to bottom.

    Layers that must keep the same channels have one colour and a line that leads from one to the next; what is kept
    whole is hatched.

    Args:
        network: all layers.
        found: what is kept, by step.
        palette: the colours.
        units: what widths count.
    """
    layers = [layer for layer in network if outputs_of(layer, found)]
    axes = new_axes(FRAME_INCHES + BAR_INCHES * max(len(layers), 1), palette)
    widths = [outputs_of(layer, found) for layer in layers]
    kept = [outputs_kept(layer, found) for layer in layers]
    rows = range(len(layers))
    axes.barh(rows, widths, 0.78, color=palette.quiet, label=DENSE)
    ties = _ties(layers)
    colours = [_colour(number, ties, palette) for number in rows]
    for number in rows:
        label, hatch = _kind(layers[number], number, ties)
        face, edge = (colours[number],) * 2 if hatch is None else (palette.quiet, palette.trial)
        axes.barh(number, kept[number], 0.78, label=label, hatch=hatch, linewidth=0, facecolor=face, edgecolor=edge)
    _connect(axes, ties, max(widths, default=1), palette)
    # Names are drawn as they are: a dollar sign in the name of a user's layer starts no formula.
    axes.set_yticks(rows, [short(layer.name) for layer in layers], parse_math=False)
    axes.tick_params(axis="y", labelsize=SMALL - 2)
    axes.set(ylim=(len(layers) - 0.4, -0.6), xlabel=f"{units} of a layer's output" if units == "channels" else units)
    axes.grid(visible=False)
    return finish(axes, "The network, layer by layer", (DENSE, KEPT, TIED, WHOLE), palette)


def _ties(layers: Sequence[NetworkLayer]) -> list[list[int]]:
    """Return the sets of layers, by number, of which each has channels that another of the set must keep, too."""
    by_step: dict[int, list[int]] = {}
    for number, layer in enumerate(layers):
        for step in deciding(layer):
            by_step.setdefault(step, []).append(number)
    return sorted(numbers for numbers in by_step.values() if len(numbers) > 1)


def _colour(number: int, ties: Sequence[Sequence[int]], palette: Palette) -> str:
    tie = next((index for index, numbers in enumerate(ties) if number in numbers), None)
    return palette.found if tie is None else palette.others[tie % len(palette.others)]


def _kind(layer: NetworkLayer, number: int, ties: Sequence[Sequence[int]]) -> tuple[str, str | None]:
    """Return what a bar stands for, and how it is hatched."""
    if not deciding(layer):
        return WHOLE, "////"
    return (TIED if any(number in numbers for numbers in ties) else KEPT), None


def _connect(axes: Axes, ties: Sequence[Sequence[int]], widest: int, palette: Palette) -> None:
    """Draw the line of every set of ties, on the right of all bars and of the numbers that they are read by."""
    for place, (lane, numbers) in enumerate(zip(lanes_of(ties), ties, strict=True)):
        x, colour = widest * (1 + LANE * (lane + 1)), palette.others[place % len(palette.others)]
        axes.plot([x] * len(numbers), numbers, color=colour, linewidth=1.2, marker="o", markersize=3, zorder=3)
    axes.set_xticks([tick for tick in axes.get_xticks() if 0 <= tick <= widest])


def lanes_of(ties: Sequence[Sequence[int]]) -> list[int]:
    """Return for every set of ties, by its first layer, the first lane in which no other line is in its way."""
    ends: list[int] = []
    lanes = []
    for numbers in ties:
        lane = next((lane for lane, end in enumerate(ends) if end < numbers[0]), len(ends))
        ends[lane : lane + 1] = [numbers[-1]]
        lanes.append(lane)
    return lanes
