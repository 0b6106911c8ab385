"""Which folders hold runs, and how their files are called.

A run of several stages keeps the earlier ones in folders below its own, ``stage1`` and so on; the trials of the last
stage are the run's.
"""

import os
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from amc.errors import StorageError

TRIALS, TIMINGS, RESULT, ASKED = "trials.jsonl", "timings.jsonl", "result.json", "asked.json"
STAGE, NETWORK = "stage.json", "network.safetensors"
LATENCY_TABLE, TIME_CHECKS = "latency.json", "measured_shares.json"
CONDITIONS = "conditions.json"
TOLD = ".told.json"
"""Names the trackers that have heard of the finished run; no part of what it found."""
_STAGE_FOLDER = re.compile(r"stage\d+")
_PARTS = re.compile(r"(\d*)(\D*)")


def stage_folder(run: Path, number: int) -> Path:
    """Return where a run keeps an earlier stage, counted from 1."""
    return run / f"stage{number}"


def stage_folders(run: Path) -> Sequence[Path]:
    """Return the folders of earlier stages that are there."""
    return [path for path in sorted(run.glob("stage*")) if _STAGE_FOLDER.fullmatch(path.name) and path.is_dir()]


def find_runs(folder: Path) -> list[Path]:
    """Return the run folders below ``folder``, finished or not, in the order a reader expects: seed2 before seed10.

    Links to folders are not followed, and the stages of a run are no runs.

    Raises:
        StorageError: a folder cannot be read.
    """
    runs = []
    for where, folders, files in os.walk(folder, onerror=_cannot_walk):
        path = Path(where)
        stages = {stage.name for stage in stage_folders(path) if (stage / TRIALS).exists()}
        folders[:] = [name for name in folders if name not in stages]
        if {TRIALS, RESULT} & set(files) or stages:
            runs.append(path)
    return sorted(runs, key=lambda run: [(int(digits or 0), text) for digits, text in _PARTS.findall(str(run))])


def holds_run(folder: Path) -> bool:
    """Whether a run has left a trial or a result."""
    trials = folder / TRIALS
    if is_finished(folder) or (trials.is_file() and trials.stat().st_size > 0):
        return True
    return any(map(holds_run, stage_folders(folder)))


def is_finished(folder: Path) -> bool:
    """Whether a run left its result."""
    return (folder / RESULT).exists()


def clear(folder: Path) -> None:
    """Remove what a run has left of its search, earlier stages included.

    Raises:
        OSError: a file cannot be removed.
    """
    for name in (TRIALS, TIMINGS, RESULT, ASKED, STAGE, NETWORK, CONDITIONS, LATENCY_TABLE, TIME_CHECKS, TOLD):
        (folder / name).unlink(missing_ok=True)
    for stage in stage_folders(folder):
        clear(stage)
        with suppress(OSError):  # not empty: something else is in it
            stage.rmdir()


def _cannot_walk(error: OSError) -> None:
    raise StorageError(f"{error.filename}: cannot be read ({error.strerror})") from error
