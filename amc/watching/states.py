"""How far the runs of a study are, from what lies in their folders: they may be written on other machines."""

import math
import os
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from amc.errors import UserError
from amc.names import printable
from amc.store.lock import is_held
from amc.store.results import read_asked
from amc.store.run_folders import TRIALS, find_runs, is_finished, stage_folders
from amc.store.trial_rows import recover_trials
from amc.watching.failures import FOLDER, Failure, read_failures
from envs.search import better

MOST_BYTES, MOST_CHOICES = 1 << 20, 100_000
SWEEP, OF_HYDRA = "multirun.yaml", ".hydra"
FAILED, RUNNING, STOPPED, FINISHED = "failed", "running", "stopped", "finished"
STATES = (FAILED, RUNNING, STOPPED, FINISHED)
"""What a run may be; stopped: nobody works on it, and it is not finished, as one that a queue will go on with."""


class Progress(NamedTuple):
    """How far a search is: trials that are recorded, and the best metric within the target, if there is any."""

    trials: int = 0
    best: float | None = None


class Seen(NamedTuple):
    """A run as it was found.

    Attributes:
        name: within the study, safe to print.
        state: one of ``STATES``.
        stage: which one it is at, from 1.
        progress: of that stage.
        episodes: that it was asked for; ``None`` where that is not known yet.
        failure: what it failed of.
    """

    name: str
    state: str
    stage: int = 1
    progress: Progress = Progress()
    episodes: int | None = None
    failure: Failure | None = None


class Sight(NamedTuple):
    """A study as it was found: its runs by name, and how many its sweeps are made of, 0 where that is not known."""

    runs: tuple[Seen, ...]
    expected: int

    @property
    def total(self) -> int:
        """How many runs there are or will be."""
        return max(self.expected, len(self.runs))

    def count(self, state: str) -> int:
        """Return how many runs are in a state."""
        return sum(run.state == state for run in self.runs)

    @property
    def is_complete(self) -> bool:
        """Whether nothing more is to be expected."""
        return bool(self.runs) and self.count(FINISHED) + self.count(FAILED) == self.total


class Watcher:
    """Looks at a study again and again; what did not change meanwhile is not read again.

    Args:
        study: its folder.
    """

    def __init__(self, study: Path) -> None:
        self._study = study
        self._known: dict[Path, tuple[tuple[int, int], Progress]] = {}

    def look(self) -> Sight:
        """Return what there is now.

        Raises:
            StorageError: a folder cannot be read.
        """
        runs, failures, expected = set(find_runs(self._study)), dict[Path, Failure](), 0
        for where, folders, files in os.walk(self._study):
            folder = Path(where)
            if FOLDER in folders:
                failures |= dict(read_failures(folder))
            if OF_HYDRA in folders:
                runs.add(folder)
            if SWEEP in files:
                expected += jobs_of(folder / SWEEP)
            folders[:] = [name for name in folders if not name.startswith(".")]
        ordered = sorted(runs | set(failures))
        return Sight(tuple(self._seen(run, failures.get(run)) for run in ordered), expected)

    def _seen(self, run: Path, failure: Failure | None) -> Seen:
        stages = [folder for folder in stage_folders(run) if (folder / TRIALS).exists()]
        latest = run if (run / TRIALS).exists() or not stages else stages[-1]
        number = len(stages) + (latest == run)
        if is_finished(run):
            state, failure = FINISHED, None
        elif is_held(run / ".lock"):
            state, failure = RUNNING, None
        else:
            state = STOPPED if failure is None else FAILED
        name = printable(run.relative_to(self._study), longest=200)
        return Seen(name, state, number, self._progress(latest / TRIALS), _episodes(run), failure)

    def _progress(self, trials: Path) -> Progress:
        try:
            found = trials.stat()
        except OSError:
            return Progress()
        stamp = (found.st_mtime_ns, found.st_size)
        before, progress = self._known.get(trials, ((0, 0), Progress()))
        if before != stamp:
            progress = _read(trials)
            self._known[trials] = stamp, progress
        return progress


def _read(trials: Path) -> Progress:
    try:
        found = recover_trials(trials.parent).trials
    except (UserError, OSError):  # its command says what is wrong
        return Progress()
    best = None
    for trial in found.values():
        best = better(trial, best)
    return Progress(len(found), None if best is None else best.evaluation.metric)


def _episodes(run: Path) -> int | None:
    try:
        episodes = (read_asked(run) or {}).get("episodes")
    except (UserError, OSError):
        return None
    return episodes if isinstance(episodes, int) else None


def jobs_of(sweep: Path) -> int:
    """Return how many jobs the sweep is made of whose configuration Hydra left in a file; 0 where it does not say."""
    try:
        # A pipe would block, and a range of billions be counted for hours.
        if not sweep.is_file() or sweep.stat().st_size > MOST_BYTES:
            return 0
        overrides = OmegaConf.load(sweep).hydra.overrides.task
        parsed = OverridesParser.create().parse_overrides(list(overrides))
        choices = [override.sweep_string_iterator() for override in parsed if override.is_sweep_override()]
        return math.prod(sum(1 for _ in islice(each, MOST_CHOICES)) for each in choices)
    except Exception:  # whatever someone else's file makes of that
        return 0
