"""Run folders: the only module that opens the files of a run, which ``amc.store.run_folders`` names.

| file | holds | same for the same seed |
|---|---|---|
| ``trials.jsonl`` | one line a trial, on disk before the next episode begins | yes |
| ``timings.jsonl`` | the seconds of each trial | no |
| ``asked.json`` | what the run was asked: its settings | yes |
| ``result.json`` | what the run found: the dense, the uniform and the pruned network | all but seconds and latency |
| ``stage1/stage.json`` | what an earlier stage of a staged run found; its trials lie beside it | all but seconds |

A kill at any moment leaves every file whole, see ``amc.store.durable_files``.
"""

import json
import logging
import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from itertools import count, takewhile
from pathlib import Path

from amc.config.setting import Setting
from amc.errors import RefusedInput, StorageError
from amc.store.digests import CHECKSUMS, parse_sealed, sealed
from amc.store.durable_files import LineFile, make_folder, read_file, remove_partial_files, sync_way_to, write_file
from amc.store.kept_layers import StageKept
from amc.store.result_record import FineTuned as FineTuned
from amc.store.result_record import PrunedScores as PrunedScores
from amc.store.result_record import Result as Result
from amc.store.result_record import Scores as Scores
from amc.store.result_record import StoredSetting
from amc.store.result_record import TimeCheck as TimeCheck
from amc.store.run_folders import ASKED, RESULT, STAGE, TIMINGS, TOLD, TRIALS, clear
from amc.store.trial_rows import read_trials as read_trials
from amc.store.trial_rows import recover_trials, timing_as_dict, trial_as_dict
from amc.store.typed_records import parse
from envs.search import Trial

log = logging.getLogger(__name__)
SCHEMA = 1


@dataclass(frozen=True)
class _Versioned:
    """What tells whether the rest can be read."""

    schema: object = None


class RunFolder:
    """A run's folder, open for writing.

    Args:
        folder: made where missing. A folder holds one run: trials and result of an earlier one in it are removed.
        keep: go on with the trials, the stages and the result that are there. Trials behind the first that is torn,
            damaged or missing leave the file, and are in ``recorded`` all the same.

    Attributes:
        recorded: the whole trials that were there, by index.

    Raises:
        RefusedInput: the trials to be kept are no regular file.
        StorageError: the folder cannot be made or written.
    """

    def __init__(self, folder: Path, *, keep: bool = False) -> None:
        self.folder = folder
        self._trials, self._timings = LineFile(folder / TRIALS), LineFile(folder / TIMINGS)
        try:
            make_folder(folder)
            sync_way_to(folder)
            remove_partial_files(folder)
            if not keep:
                (folder / CHECKSUMS).unlink(missing_ok=True)
                clear(folder)
        except OSError as error:
            raise StorageError(
                f"{folder}: cannot be made or written ({error.strerror}); choose another name"
            ) from error
        self.recorded: dict[int, Trial] = {}
        if keep and (folder / TRIALS).exists():
            found = recover_trials(folder)
            for damage in (*found.damage, *found.dropped):
                log.warning("%s", damage)
            self.recorded = found.trials
            if not found.tidy:
                self._rewrite(self.first_recorded())

    def record(self, trial: Trial) -> None:
        """Append a trial; it is on disk when this returns. A sink of ``RecordTrials``."""
        self._trials.append(sealed(trial_as_dict(trial)))
        self._timings.append(sealed(timing_as_dict(_timed(trial))))

    def first_recorded(self) -> list[Trial]:
        """Return the recorded trials up to the first that is missing."""
        return [self.recorded[index] for index in takewhile(self.recorded.__contains__, count())]

    def unpublish(self) -> None:
        """Take back that the run is finished, before what it found is written anew.

        Raises:
            StorageError: the folder cannot be written.
        """
        try:
            for name in (CHECKSUMS, RESULT):
                (self.folder / name).unlink(missing_ok=True)
        except OSError as error:
            raise StorageError(f"{self.folder}: cannot be written ({error.strerror})") from error

    def ask(self, asked: Mapping[str, Setting]) -> None:
        """Write down what the run was asked, before its first trial."""
        self.write(ASKED, json.dumps(sealed(asked), indent=1) + "\n")

    def _rewrite(self, trials: Sequence[Trial]) -> None:
        """Write whole lines only."""
        for name, as_dict in ((TRIALS, trial_as_dict), (TIMINGS, timing_as_dict)):
            lines = [json.dumps(sealed(as_dict(_timed(trial))), allow_nan=False) + "\n" for trial in trials]
            write_file(self.folder / name, "".join(lines))

    def write(self, name: str, content: bytes | str) -> Path:
        """Write a file of the run and return its path."""
        return write_file(self.folder / name, content)

    def write_result(self, result: Result) -> Path:
        """Write ``result.json``."""
        as_dict = asdict(result)
        for key in ("strategy", "uniform_strategy", "finetuned", "network"):
            as_dict[key] = [row._asdict() for row in getattr(result, key)]
        as_dict["stages"] = [stage.as_dict() for stage in result.stages]
        if not result.stages:
            del as_dict["stages"]
        return self.write(RESULT, json.dumps(sealed(as_dict), indent=1, allow_nan=False) + "\n")

    def write_stage(self, stage: StageKept) -> Path:
        """Write ``stage.json``; from then on the stage is done."""
        return self.write(STAGE, json.dumps(sealed(stage.as_dict()), indent=1, allow_nan=False) + "\n")


def _timed(trial: Trial) -> Trial:
    """Return a trial with seconds; one whose seconds were lost counts as having taken none."""
    return replace(trial, seconds=0.0, engine_seconds=0.0) if math.isnan(trial.seconds) else trial


def told(folder: Path) -> list[str]:
    """Return the trackers that have heard of a finished run; none where that is not known."""
    with suppress(RefusedInput, ValueError):
        names: list[str] = parse_sealed(dict[str, list[str]], read_file(folder / TOLD)).record["trackers"]
        return names
    return []


def note_told(folder: Path, tracker: str) -> None:
    """Write down that a tracker has heard of a finished run.

    Raises:
        StorageError: the folder cannot be written.
    """
    write_file(folder / TOLD, json.dumps(sealed({"trackers": sorted({*told(folder), tracker})})) + "\n")


def read_asked(folder: Path) -> dict[str, Setting] | None:
    """Read what a run was asked; ``None`` where it has not written that down.

    Raises:
        RefusedInput: the file is damaged.
    """
    path = folder / ASKED
    if not path.exists():
        return None
    try:
        asked: dict[str, Setting] = parse_sealed(dict[str, StoredSetting], read_file(path)).record
        return asked
    except ValueError as error:
        raise RefusedInput(f"{path}: holds no settings ({error}); overwrite=true starts the run anew") from error


def read_result(folder: Path) -> Result:
    """Read ``result.json``; every value in it is checked.

    Raises:
        RefusedInput: the file is missing or is no result of this schema.
    """
    path = folder / RESULT
    content = read_file(path)
    try:
        schema = parse(_Versioned, content, extra="ignore").schema
        if schema == SCHEMA:
            result: Result = parse_sealed(Result, content).record
            return result
    except ValueError as error:
        raise RefusedInput(f"{path}: no result of a run ({error})") from error
    raise RefusedInput(f"{path}: schema {schema!s:.40}, this version reads {SCHEMA}")


def read_stage(folder: Path) -> StageKept:
    """Read what a stage found; every value in it is checked.

    Raises:
        RefusedInput: the file is missing or is no stage.
    """
    try:
        stage: StageKept = parse_sealed(StageKept, read_file(folder / STAGE)).record
        return stage
    except ValueError as error:
        raise RefusedInput(f"{folder / STAGE}: no stage of a run ({error}); delete it to repeat the stage") from error
