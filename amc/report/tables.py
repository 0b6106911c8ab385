"""The figures of a run side by side, dense | uniform | found: as rows, and for the terminal."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from rich.table import Table
from rich.text import Text

from amc.names import printable
from amc.store.results import Result

NETWORKS = ("dense", "uniform", "found")
STAGE_COLUMNS = ("target", "FLOPs", "parameters", "memory", "before fine-tuning", "after")
# Resource of a search -> its field of ``Scores``, and its name in words.
RESOURCES = {"flops": ("flops", "FLOPs"), "params": ("params", "parameters"), "memory": ("memory_bytes", "memory")}


class Cell(NamedTuple):
    """A figure as text, and what it is relative to the dense network's; empty where there is nothing to say."""

    figure: str
    relative: str = ""

    def __str__(self) -> str:
        return f"{self.figure} ({self.relative})" if self.relative else self.figure


class Row(NamedTuple):
    """One quantity of every network, in the order of ``NETWORKS``."""

    label: str
    cells: tuple[Cell, ...]


class Quantity(NamedTuple):
    """How a quantity is written: its figure, and its relation to the dense network's."""

    figure: Callable[[float], str]
    relative: Callable[[float, float], str]


def percent(value: float) -> str:
    """Write a fraction: 0.9738 is 97.38%."""
    return f"{value:.2%}"


def points(value: float, dense: float) -> str:
    """Write the change of a fraction in percentage points."""
    return f"{100 * (value - dense):+.2f} pts"


def share(value: float, dense: float) -> str:
    """Write what is kept of the dense network's."""
    return f"{value / dense:.1%}"


def times(ratio: float) -> str:
    """Write how many times faster a network is than another."""
    return f"{ratio:.2f}x"


def speedup(value: float, dense: float) -> str:
    """Write how many times faster than dense."""
    return times(dense / value)


def count(value: float) -> str:
    """Write a count with three digits: 46412800 is 46.4M."""
    return "".join(_scaled(value))


def size(value: float) -> str:
    """Write a number of bytes in decimal units: 883880 is 884 kB."""
    digits, unit = _scaled(value)
    return f"{digits} {unit}B"


def milliseconds(value: float) -> str:
    """Write a duration given in milliseconds."""
    return f"{value:.3g} ms"


TOP1 = Quantity(percent, points)
COUNT = Quantity(count, share)
SIZE = Quantity(size, share)
LATENCY = Quantity(milliseconds, speedup)


def metric_name(result: Result) -> str:
    """Return what networks of a run are scored by, in words."""
    own = result.settings.get("metric")
    return str(own).rpartition(".")[2] if own else "top-1"


def figure_rows(result: Result) -> list[Row]:
    """Return the comparison of a run's three networks."""
    dense, uniform, found = result.dense, result.uniform, result.pruned
    networks = (dense, uniform, found)
    before = (uniform.test_top1_before_finetune, found.test_top1_before_finetune)
    untuned = [Cell(percent(top1), points(top1, dense.test_top1)) for top1 in before]
    return [
        make_row(f"{metric_name(result)} on test", [scores.test_top1 for scores in networks], TOP1),
        Row("before fine-tuning", (Cell("-"), *untuned)),
        make_row("FLOPs", [scores.flops for scores in networks], COUNT),
        make_row("parameters", [scores.params for scores in networks], COUNT),
        make_row("memory", [scores.memory_bytes for scores in networks], SIZE),
        make_row("latency", [scores.latency_ms for scores in networks], LATENCY),
    ]


def stage_rows(result: Result) -> list[Row]:
    """Return what every stage of a staged run came to, in the order of ``STAGE_COLUMNS``; nothing for other runs.

    The FLOPs, parameters and bytes are relative to the original network's.
    """
    dense = result.dense
    return [
        Row(
            str(number),
            (
                Cell(f"{100 * stage.target:.3g}%"),
                Cell(share(stage.flops, dense.flops)),
                Cell(share(stage.params, dense.params)),
                Cell(share(stage.memory_bytes, dense.memory_bytes)),
                Cell(percent(stage.search_top1_before_finetune)),
                Cell(percent(stage.search_top1)),
            ),
        )
        for number, stage in enumerate(result.stages, 1)
    ]


def terminal_table(result: Result) -> Table:
    """Return the comparison for rich to print."""
    return rows_table(printable(f"{result.model} on {result.data}", 200), NETWORKS, figure_rows(result))


def terminal_stages(result: Result) -> Table:
    """Return what every stage came to for rich to print."""
    return rows_table("Stages: kept of the original, top-1 on search", STAGE_COLUMNS, stage_rows(result))


def rows_table(title: str, networks: Sequence[str], rows: Sequence[Row]) -> Table:
    """Return rows, with one cell a network, for rich to print."""
    table = Table(title=Text(title), title_justify="left", header_style="bold")
    table.add_column("")
    for network in networks:
        table.add_column(network, justify="right")
    for row in rows:
        table.add_row(row.label, *(Text.assemble(cell.figure, (f" {cell.relative}", "dim")) for cell in row.cells))
    return table


def make_row(label: str, values: Sequence[float], quantity: Quantity) -> Row:
    """Return a quantity of several networks, the dense one first."""
    dense, *pruned = values
    cells = [Cell(quantity.figure(value), quantity.relative(value, dense)) for value in pruned]
    return Row(label, (Cell(quantity.figure(dense)), *cells))


def _scaled(value: float) -> tuple[str, str]:
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= limit:
            # Beyond three digits, %.3g would write an exponent.
            return f"{value / limit:.3g}" if value < 999.5 * limit else f"{value / limit:.0f}", unit
    return f"{value:.0f}", ""
