"""A benchmark of one network after the other, each in a process of its own with a limit on its time."""

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from record import Record, Row
from rich.console import Console
from rich.table import Table

Columns = Mapping[str, Callable[[Row], str]]
"""What a table shows of a row, by title."""


class Failed(Exception):
    """A network's process came to no row, and why."""


def read_arguments(
    description: str | None, names: Sequence[str], seconds: float, arguments: Sequence[str] | None
) -> argparse.Namespace:
    """Read the command line of such a benchmark.

    Args:
        description: what it does.
        names: of all networks.
        seconds: limit for one network unless told otherwise.
        arguments: of the command line; ``None`` for the process's own.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=names, default=list(names), metavar="LIBRARY/NAME")
    parser.add_argument("--seconds", type=float, default=seconds, help="limit for one network")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path, help="where to write the table as Markdown")
    parser.add_argument("--rows", type=Path, help="a file of rows: those in it are not made again, new ones are added")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def rows_of(
    script: str, asked: argparse.Namespace, failed: Callable[[str, str], Row], tell: Callable[[Row], None]
) -> list[Row]:
    """Return a row for every network that is asked for.

    Args:
        script: that prints the row of one network as its last line when it is called with ``--one NAME``.
        asked: what ``read_arguments`` returned.
        failed: makes the row of a network whose process came to none, from its name and the reason.
        tell: is told of each.
    """
    record = Record(asked.rows, {"threads": asked.threads}) if asked.rows else None
    known = {row["model"]: row for row in record.rows} if record else {}
    rows = []
    for name in asked.only:
        if name not in known:
            try:
                known[name] = _apart(script, name, asked)
            except Failed as reason:
                known[name] = failed(name, str(reason))
            if record:
                record.add(known[name])
        rows.append(known[name])
        tell(rows[-1])
    return rows


def show(rows: Sequence[Row], columns: Columns, alignment: str, output: Path | None) -> None:
    """Print a table of the rows, and write it as Markdown where that is asked for.

    Args:
        rows: of all networks.
        columns: the table's.
        alignment: the line of Markdown below the titles.
        output: the file.
    """
    cells = [[cell(row) for cell in columns.values()] for row in rows]
    if output:
        lines = ["| " + " | ".join(columns) + " |", alignment, *("| " + " | ".join(line) + " |" for line in cells)]
        output.write_text("\n".join(lines) + "\n")
    table = Table(*columns)
    for line in cells:
        table.add_row(*line)
    Console().print(table)


def _apart(script: str, name: str, asked: argparse.Namespace) -> Row:
    command = [sys.executable, script, "--one", name, "--threads", str(asked.threads)]
    try:
        process = subprocess.run(command, capture_output=True, text=True, timeout=asked.seconds)  # noqa: S603  a script here
    except subprocess.TimeoutExpired as error:
        raise Failed(f"not done in {asked.seconds:.0f} s") from error
    if process.returncode:  # a traceback from inside: nothing that a user could do anything about
        raise Failed((process.stderr.strip().splitlines() or [f"exit code {process.returncode}"])[-1])
    return dict(json.loads(process.stdout.splitlines()[-1]))
