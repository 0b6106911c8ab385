"""Every layer of a network in one table: searched, with the layers tied to it, or kept whole, and why."""

from collections.abc import Sequence
from typing import NamedTuple

from rich.table import Table
from rich.text import Text

from amc.names import printable
from amc.report.tables import percent
from amc.store.kept_layers import LayerKept
from envs.engine.types import NetworkLayer, steps_of

NAMED, NAMED_WHOLE = 2, 4
COLUMNS = ("layer", "FLOPs", "dense", "uniform", "found", "searched, or kept whole")
SEARCHED, WHOLE, OUTPUTS_WHOLE = "searched", "whole: {}", "outputs whole: {}"


class LayerLine(NamedTuple):
    """A layer as tables show it.

    Attributes:
        name: of the module.
        share: of the dense network's FLOPs; empty where that is not known.
        dense: outputs of the dense network's layer, or what else it has that can go; empty where it has none.
        uniform: what is left of them by uniform ratios.
        found: what is left of them in the network found.
        note: whether it is searched, what is tied to it, and why it is kept whole.
    """

    name: str
    share: str
    dense: str
    uniform: str
    found: str
    note: str


def layer_lines(
    network: Sequence[NetworkLayer], found: Sequence[LayerKept], uniform: Sequence[LayerKept]
) -> list[LayerLine]:
    """Return a line for every layer, in forward order.

    Args:
        network: all layers; of runs that did not write them down there are none, and lines are those of the search.
        found: what the network found keeps, by step.
        uniform: what uniform ratios keep, by step.
    """
    if not network:
        rows = zip(found, uniform, strict=True)
        return [LayerLine(row.layer, "", str(row.of), str(other.kept), str(row.kept), SEARCHED) for row, other in rows]
    total = sum(layer.flops for layer in network) or 1.0
    return [
        LayerLine(
            layer.name,
            percent(layer.flops / total),
            *_counts(layer, found, uniform),
            note(layer, network),
        )
        for layer in network
    ]


def outputs_kept(layer: NetworkLayer, strategy: Sequence[LayerKept]) -> int:
    """Return how many outputs of a layer a strategy keeps, or where masks are set how many units of its weight."""
    if layer.weight is not None:
        return strategy[layer.weight].kept
    if layer.block is not None and not strategy[layer.block].kept:
        return 0
    gone = sum(part.channels * (1 - strategy[part.step].kept / strategy[part.step].of) for part in layer.writes)
    return layer.outputs - round(gone)


def outputs_of(layer: NetworkLayer, strategy: Sequence[LayerKept]) -> int:
    """Return how many outputs, or units of its weight, a layer of the dense network has."""
    return layer.outputs if layer.weight is None else strategy[layer.weight].of


def note(layer: NetworkLayer, network: Sequence[NetworkLayer]) -> str:
    """Say whether a layer is searched, which layers go with it, and why it is kept whole."""
    if not deciding(layer):
        return (OUTPUTS_WHOLE if layer.reads else WHOLE).format(layer.whole)
    own = deciding(layer)
    tied = [other.name for other in network if other is not layer and own & deciding(other)]
    if not tied:
        return SEARCHED
    more = f" and {len(tied) - NAMED} more" if len(tied) > NAMED else ""
    return f"{SEARCHED}, tied to {', '.join(tied[:NAMED])}{more}"


def whole_in_words(network: Sequence[NetworkLayer]) -> str:
    """Say in a line how much of a network is searched, and what of it is kept whole."""
    total = sum(layer.flops for layer in network) or 1.0
    whole = sorted((layer for layer in network if not layer.searched), key=lambda layer: -layer.flops)
    if not whole:
        return f"all {len(network)} layers of the network are searched, or read what is"
    share = sum(layer.flops for layer in whole) / total
    named = "; ".join(f"{layer.name} ({layer.flops / total:.1%}) {layer.whole}" for layer in whole[:NAMED_WHOLE])
    more = f"; and {len(whole) - NAMED_WHOLE} more" if len(whole) > NAMED_WHOLE else ""
    return f"{len(whole)} of {len(network)} layers are kept whole, {share:.1%} of the FLOPs: {named}{more}"


def layers_table(lines: Sequence[LayerLine]) -> Table:
    """Return the lines for rich to print."""
    table = Table(title=Text("Every layer of the network"), title_justify="left", header_style="bold")
    for number, column in enumerate(COLUMNS):
        ragged = number in (0, len(COLUMNS) - 1)
        table.add_column(column, justify="left" if ragged else "right", overflow="fold" if ragged else "ellipsis")
    for line in lines:
        table.add_row(*(Text(printable(cell, 200)) for cell in line))
    return table


def deciding(layer: NetworkLayer) -> frozenset[int]:
    """Return the steps that decide about a layer's outputs, or about its weights."""
    return frozenset(steps_of(layer._replace(reads=())))


def _counts(layer: NetworkLayer, found: Sequence[LayerKept], uniform: Sequence[LayerKept]) -> tuple[str, str, str]:
    """Return a layer's outputs in the dense, the uniform and the found network; nothing where it has none."""
    dense = outputs_of(layer, found)
    return (str(dense), str(outputs_kept(layer, uniform)), str(outputs_kept(layer, found))) if dense else ("", "", "")
