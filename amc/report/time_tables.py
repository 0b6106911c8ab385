"""How long the three networks of a run take, runtime by runtime, and what arrived of the FLOPs that were saved."""

from collections.abc import Sequence

from rich.table import Table

from amc.measurement.latency import Latency
from amc.report.tables import NETWORKS, Cell, Row, milliseconds, percent, rows_table, size, times
from amc.store.results import Result

UNSTEADY = "unsteady"


def runtimes_of(result: Result) -> list[str]:
    """Return the runtimes that a run was timed in, the one that counts first."""
    return list(dict.fromkeys(row.runtime for row in result.latencies))


def time_rows(result: Result, runtime: str) -> list[Row]:
    """Return what the networks take in a runtime, by batch; nothing for runs of before ratios were measured."""
    rows: list[Row] = []
    networks = _three(result, runtime)
    for batch in dict.fromkeys(row.batch for row in networks):
        three = [row for row in networks if row.batch == batch]
        if len(three) != len(NETWORKS) or not three[0].speedup:
            continue
        rows += [
            Row(f"batch {batch}", tuple(_time(row) for row in three)),
            Row("95% interval", (Cell("-"), *(_interval(row) for row in three[1:]))),
            Row("images a second", tuple(Cell(f"{row.images_per_second:.0f}") for row in three)),
            Row("FLOPs as time", (Cell("-"), *_arrived(result, three))),
        ]
    files = networks[: len(NETWORKS)]
    if rows and all(row.file_bytes for row in files):
        rows.append(Row("file", tuple(Cell(size(row.file_bytes)) for row in files)))
    return rows + (check_rows(result) if rows and runtime == runtimes_of(result)[0] else [])


def check_rows(result: Result) -> list[Row]:
    """Return how the target on time was met before fine-tuning; nothing where there was none, or a table was given."""
    kept = {"uniform": result.uniform_strategy, "found": result.strategy}
    checks = [
        # Uniform ratios may be what was found.
        next(
            (each for each in result.time_checks if each.chosen and each.kept == tuple(row.kept for row in rows)), None
        )
        for rows in kept.values()
    ]
    if None in checks:
        return []
    known = [each for each in checks if each is not None]
    return [
        Row("of dense, by the table", (Cell("-"), *(Cell(f"{each.predicted:.1%}") for each in known))),
        Row("timed before tuning", (Cell("-"), *(Cell(f"{each.measured:.1%}") for each in known))),
    ]


def terminal_times(result: Result) -> list[Table]:
    """Return the tables of the runtimes for rich to print."""
    found = [(runtime, time_rows(result, runtime)) for runtime in runtimes_of(result)]
    return [rows_table(f"Time in {title(result, runtime)}", NETWORKS, rows) for runtime, rows in found if rows]


def title(result: Result, runtime: str) -> str:
    """Return a runtime with where it ran."""
    row = next(row for row in result.latencies if row.runtime == runtime)
    return f"{runtime} on {row.device}, threads: {row.threads}"


def arrived(time_ratio: float, flops_ratio: float) -> float:
    """Return the share of the FLOPs saved that was saved as time.

    Args:
        time_ratio: time of the pruned network as a fraction of the dense one's.
        flops_ratio: the same of its FLOPs, below 1.
    """
    return (1 - time_ratio) / (1 - flops_ratio)


def _three(result: Result, runtime: str) -> list[Latency]:
    return [row for row in result.latencies if row.runtime == runtime and row.network in NETWORKS]


def _time(row: Latency) -> Cell:
    if not row.steady:
        return Cell(milliseconds(row.median_ms), UNSTEADY)
    if row.network == NETWORKS[0]:
        return Cell(milliseconds(row.median_ms))
    return Cell(milliseconds(row.median_ms), times(row.speedup))


def _interval(row: Latency) -> Cell:
    return Cell(f"{row.speedup_low:.2f}-{row.speedup_high:.2f}x" if row.steady else "-")


def _arrived(result: Result, three: Sequence[Latency]) -> list[Cell]:
    cells = []
    for row, scores in zip(three[1:], (result.uniform, result.pruned), strict=True):
        kept = scores.flops / result.dense.flops
        known = kept < 1 and row.steady
        cells.append(Cell(percent(arrived(1 / row.speedup, kept))[:-4] + "%" if known else "-"))
    return cells
