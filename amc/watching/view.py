"""A study that fills up as it is shown: a table that changes in place, or a line for all that has happened."""

from collections.abc import Iterator

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.table import Table
from rich.text import Text

from amc.watching.states import FAILED, FINISHED, RUNNING, STATES, STOPPED, Seen, Sight

STYLES = {FAILED: "bold red", RUNNING: "green", STOPPED: "yellow", FINISHED: "dim"}
AROUND = 6
"""Lines of a table that are no runs."""


def summary(sight: Sight) -> str:
    """Return how far a study is, in one line."""
    counts = [f"{sight.count(state)} {state}" for state in reversed(STATES) if sight.count(state)]
    if to_come := sight.total - len(sight.runs):
        counts.append(f"{to_come} to come")
    return f"{sight.total} runs: {', '.join(counts)}" if counts else "no run yet"


def table(sight: Sight, lines: int) -> Group:
    """Return a study as a table, for a terminal of so many lines: finished runs are the first to be left out."""
    shown = sorted(sight.runs, key=lambda run: STATES.index(run.state))[: max(1, lines - AROUND)]
    printed = Table(box=SIMPLE_HEAD, header_style="bold", pad_edge=False, padding=(0, 1))
    printed.add_column("run", overflow="fold")
    printed.add_column("state")
    for name in ("trials", "best"):
        printed.add_column(name, justify="right")
    for run in sorted(shown, key=sight.runs.index):
        printed.add_row(Text(run.name), Text(run.state, STYLES[run.state]), Text(trials(run)), Text(best(run)))
    left_out = len(sight.runs) - len(shown)
    more = [Text(f"and {left_out} more", style="dim")] if left_out else []
    return Group(Text(summary(sight), style="bold"), printed, *more)


def news(sight: Sight, before: Sight | None) -> Iterator[str]:
    """Yield a line for each run that is new or in another state than before, and one for all of them."""
    known = {run.name: run.state for run in before.runs} if before is not None else {}
    changed = [run for run in sight.runs if known.get(run.name) != run.state]
    for run in changed:
        said = f"; {failure_line(run)}" if run.failure is not None else ""
        yield f"{run.name}: {run.state}, trials {trials(run)}, best {best(run)}{said}"
    if changed or before is None:
        yield summary(sight)


def failure_line(run: Seen) -> str:
    """Return what a run failed of and where its log is; it may hold anything that can be written in a line."""
    if run.failure is None:
        return ""
    return f"{run.failure.said}; its log: {run.failure.log}" if run.failure.log else run.failure.said


def trials(run: Seen) -> str:
    """Return how many trials a run has of those that it was asked for."""
    asked = "" if run.episodes is None else f"/{run.episodes}"
    stage = f", stage {run.stage}" if run.stage > 1 else ""
    return f"{run.progress.trials}{asked}{stage}"


def best(run: Seen) -> str:
    """Return the best metric of a run so far."""
    return "-" if run.progress.best is None else f"{run.progress.best:.4f}"
