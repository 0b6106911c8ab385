"""Figures with their intervals as the cells of a table, for any medium."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from amc.comparison.statistics import Estimate, Paired, Reached, estimate
from amc.report.tables import Cell

NOTHING = Cell("-")
TO = "\N{EN DASH}"


class Table(NamedTuple):
    """Cells under their columns; the first column names the row."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...]


def mean_cell(values: Sequence[float], write: Callable[[float], str]) -> Cell:
    """Write the mean of one value a seed, and its interval where there is one."""
    return _estimate_cell(estimate(values), write)


def reached_cell(soon: Reached, value: Estimate | None, write: Callable[[float], str]) -> Cell:
    """Write how much it took those who arrived, and how many those are where not all did."""
    if not soon.by:
        return Cell("never", f"0 of {soon.seeds}")
    if value is None:
        return NOTHING
    cell = _estimate_cell(value, write)
    if soon.by == soon.seeds:
        return cell
    return Cell(cell.figure, " ".join(filter(None, (cell.relative, f"{soon.by} of {soon.seeds}"))))


def difference_cell(test: Paired) -> Cell:
    """Write a mean difference of fractions in percentage points."""
    value = test.difference
    if value.low is None or value.high is None:
        return Cell(f"{100 * value.mean:+.2f} pts")
    return Cell(f"{100 * value.mean:+.2f} pts", f"{100 * value.low:+.2f} to {100 * value.high:+.2f}")


def p_cell(test: Paired) -> Cell:
    """Write a p-value, where there is one."""
    return NOTHING if test.p is None else Cell(f"{test.p:.2g}")


def counted(number: int, noun: str) -> str:
    """Write a number of things: 1 seed, 2 seeds."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _estimate_cell(value: Estimate, write: Callable[[float], str]) -> Cell:
    if value.low is None or value.high is None:
        return Cell(write(value.mean))
    return Cell(write(value.mean), f"{_number(write(value.low))}{TO}{_number(write(value.high))}")


def _number(text: str) -> str:
    """Leave the unit to the mean, which stands beside the interval."""
    return text.rstrip("% msx")
