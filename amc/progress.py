"""What a person sees while a run works: a live bar on a terminal, a log line now and then anywhere else."""

import logging
import time
from typing import Any, Protocol, Self

from rich import get_console
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

from envs.costs.resource_use import use
from envs.engine.types import Cost
from envs.search import Trial, better

log = logging.getLogger(__name__)
LOG_SECONDS = 15.0
REDRAWS_A_SECOND = 8
BAR_CHARACTERS = 20


class Display(Protocol):
    """Shows how far a job of known length is, as a context manager."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *raised: object) -> None: ...

    def update(self, completed: int, text: str) -> None:
        """Show that ``completed`` parts are done; ``text`` says how well."""


class LiveDisplay:
    """A bar with the time left. Leaving the context, by Ctrl-C too, gives the terminal back as it was."""

    def __init__(self, title: str, total: int, console: Console) -> None:
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", style="bold", markup=False),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.fields[text]}", markup=False),
            console=console,
            refresh_per_second=REDRAWS_A_SECOND,
            expand=True,
        )
        self._task = self._progress.add_task(title, total=total, text="")

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._progress.stop()

    def update(self, completed: int, text: str) -> None:
        """Redraw at the next tick."""
        self._progress.update(self._task, completed=completed, text=text)


class NotebookDisplay:
    """A line below the cell that changes in place: one output, whatever front end and packages there are."""

    def __init__(self, title: str, total: int) -> None:
        self._title, self._total, self._drawn = title, total, 0.0
        self._handle: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        return None

    def update(self, completed: int, text: str) -> None:
        """Redraw at most some times a second, and at the end."""
        from IPython.display import display

        now = time.monotonic()
        if self._handle is not None and completed < self._total and now - self._drawn < 1 / REDRAWS_A_SECOND:
            return
        self._drawn = now
        done = round(BAR_CHARACTERS * completed / max(self._total, 1))
        bar = f"{'█' * done}{'░' * (BAR_CHARACTERS - done)}"
        shown = {"text/plain": f"{self._title} {bar} {completed}/{self._total}  {text}"}
        if self._handle is None:
            self._handle = display(shown, raw=True, display_id=True)
        else:
            self._handle.update(shown, raw=True)


class LogDisplay:
    """A log line for the first part, the last one, and every quarter of a minute between."""

    def __init__(self, title: str, total: int) -> None:
        self._title = title
        self._total = total
        self._started = self._last_line = time.monotonic()
        self._done_before: int | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        return None

    def update(self, completed: int, text: str) -> None:
        """Log if it is time to."""
        now = time.monotonic()
        first = self._done_before is None
        if self._done_before is None:
            self._started, self._done_before = now, completed
        if first or completed >= self._total or now - self._last_line >= LOG_SECONDS:
            self._last_line = now
            log.info("%s %d/%d%s: %s", self._title, completed, self._total, self._time_left(completed, now), text)

    def _time_left(self, completed: int, now: float) -> str:
        done = completed - (self._done_before or 0)
        if done <= 0 or completed >= self._total:
            return ""
        return f", {(now - self._started) / done * (self._total - completed):.0f} s left"


def make_display(title: str, total: int, console: Console | None = None) -> Display:
    """Return a live bar if ``console`` (by default rich's) is a terminal, a line in a notebook, else log lines."""
    console = console or get_console()
    if console.is_jupyter:
        return NotebookDisplay(title, total)
    return LiveDisplay(title, total, console) if console.is_terminal else LogDisplay(title, total)


class SearchProgress:
    """A sink of ``RecordTrials``, used as a context manager around the search.

    Args:
        episodes: the budget.
        dense: what the dense network takes.
        resource: the resource the search limits, a field of ``Cost``.
        console: where to draw; rich's own console if not given.
        title: what to call the search.
    """

    def __init__(
        self, episodes: int, dense: Cost, resource: str, console: Console | None = None, title: str = "search"
    ) -> None:
        self._display = make_display(title, episodes, console)
        self._dense = use(dense, resource)
        self._resource = resource
        self._best: Trial | None = None

    def __enter__(self) -> Self:
        self._display.__enter__()
        return self

    def __exit__(self, *raised: object) -> None:
        self._display.__exit__(*raised)

    def __call__(self, trial: Trial) -> None:
        """Count ``trial`` and show the best one so far."""
        self._best = better(trial, self._best)
        self._display.update(trial.index + 1, self._describe(self._best))

    def _describe(self, best: Trial | None) -> str:
        if best is None:
            return "nothing within the target yet"
        kept = use(best.cost, self._resource) / self._dense
        return f"best reward {best.reward:.4f}, metric {best.evaluation.metric:.4f}, {self._resource} {kept:.1%}"


class TrainingProgress:
    """A ``Progress`` callback for ``amc.training.sgd.fit``, used as a context manager around it.

    Args:
        title: what is trained.
        console: where to draw; rich's own console if not given.
    """

    def __init__(self, title: str, console: Console | None = None) -> None:
        self._title = title
        self._console = console
        self._display: Display | None = None
        self._loss = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        if self._display is not None:
            self._display.__exit__(*raised)

    def __call__(self, step: int, steps: int, loss: float) -> None:
        """Show that ``step`` of ``steps`` is done, and a running mean of the loss."""
        if self._display is None:
            self._display = make_display(self._title, steps, self._console)
            self._display.__enter__()
            self._loss = loss
        self._loss += 0.05 * (loss - self._loss)
        self._display.update(step, f"loss {self._loss:.3f}")
