"""Looks at a study until it is complete, or until Ctrl-C."""

import time
from pathlib import Path

from rich import get_console
from rich.console import Console
from rich.live import Live

from amc.names import printable_line
from amc.watching.states import Sight, Watcher
from amc.watching.view import failure_line, news, summary, table

SECONDS = 2.0
"""Between two looks."""
LINE_SECONDS = 15.0
"""After which a line says how far it is where no table changes in place, if anything has happened at all."""


def watch(study: Path, console: Console | None = None) -> bool:
    """Show a study until nothing more is to be expected of it, then list what failed; return whether that came.

    On a terminal a table changes in place; elsewhere, as in a file or over a pipe, a line is printed for what happens.

    Args:
        study: its folder.
        console: where; rich's own if not given.

    Raises:
        StorageError: a folder cannot be read.
    """
    console = console or get_console()
    watcher = Watcher(study)
    try:
        sight = _in_place(watcher, console) if console.is_terminal else _in_lines(watcher, console)
    except KeyboardInterrupt:
        sight = watcher.look()
        _print(summary(sight), console)
    for run in sight.runs:
        if run.failure is not None:
            console.print(
                f"failed: {run.name}: {printable_line(failure_line(run))}",
                markup=False,
                highlight=False,
                soft_wrap=True,
            )
    return sight.is_complete


def _in_place(watcher: Watcher, console: Console) -> Sight:
    sight = watcher.look()
    with Live(table(sight, console.height), console=console, auto_refresh=False) as live:
        while not sight.is_complete:
            time.sleep(SECONDS)
            sight = watcher.look()
            live.update(table(sight, console.height), refresh=True)
    return sight


def _in_lines(watcher: Watcher, console: Console) -> Sight:
    before: Sight | None = None
    said_at, said = 0.0, ""
    while True:
        sight = watcher.look()
        lines = list(news(sight, before))
        trials = sum(run.progress.trials for run in sight.runs)
        progress = f"{summary(sight)}; {trials} trials"
        if not lines and progress != said and time.monotonic() - said_at > LINE_SECONDS:
            lines = [progress]
        if lines:
            said_at, said = time.monotonic(), progress
        for line in lines:
            _print(line, console)
        if sight.is_complete:
            return sight
        before = sight
        time.sleep(SECONDS)


def _print(line: str, console: Console) -> None:
    # Not wrapped as other lines are, so that paths can be copied.
    console.print(printable_line(line), markup=False, highlight=False, soft_wrap=True)
