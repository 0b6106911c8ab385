"""A trial as the two lines of JSON that a run keeps of it: what it found, and how long it took."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from amc.errors import RefusedInput
from amc.store.digests import parse_sealed
from amc.store.durable_files import read_file
from amc.store.run_folders import TIMINGS, TRIALS, stage_folders
from amc.store.typed_records import Number, Whole
from envs.engine.types import Cost, Evaluation
from envs.search import Trial

Kind = TypeVar("Kind")


@dataclass(frozen=True)
class Timing:
    """A line of ``timings.jsonl``."""

    index: Whole
    seconds: Number = math.nan
    engine_seconds: Number = math.nan


@dataclass(frozen=True)
class _Evaluation:
    metric: Number
    loss: Number | None
    n_samples: Whole
    divergence: Number | None = None


@dataclass(frozen=True)
class _Cost:
    flops: Number
    params: Number
    memory: Number | None = None
    latency: Number | None = None
    memory_peak: Number | None = None


@dataclass(frozen=True)
class TrialRow:
    """A line of ``trials.jsonl``."""

    index: Whole
    reward: Number
    feasible: bool
    evaluation: _Evaluation
    cost: _Cost
    strategy: tuple[Number, ...]


def trial_as_dict(trial: Trial) -> dict[str, Any]:
    """Return everything of a trial but its seconds; JSON knows no nan, so an absent loss or divergence is null."""
    evaluation = trial.evaluation._asdict()
    evaluation |= {name: _none_if_nan(evaluation[name]) for name in ("loss", "divergence")}
    return {
        "index": trial.index,
        "reward": trial.reward,
        "feasible": trial.feasible,
        "evaluation": evaluation,
        "cost": trial.cost._asdict(),
        "strategy": list(trial.strategy),
    }


def timing_as_dict(trial: Trial) -> dict[str, Any]:
    """Return the seconds of a trial."""
    return {"index": trial.index, "seconds": trial.seconds, "engine_seconds": trial.engine_seconds}


def trial_of(row: TrialRow, timings: Mapping[int, Timing]) -> Trial:
    """Return the trial of a line; one without a timing took ``nan`` seconds."""
    timing = timings.get(row.index, Timing(row.index))
    return Trial(
        index=row.index,
        strategy=row.strategy,
        reward=row.reward,
        evaluation=_evaluation_of(row.evaluation),
        cost=Cost(**vars(row.cost)),
        feasible=row.feasible,
        seconds=timing.seconds,
        engine_seconds=timing.engine_seconds,
    )


def _evaluation_of(row: _Evaluation) -> Evaluation:
    loss, divergence = _nan_if_none(row.loss), _nan_if_none(row.divergence)
    return Evaluation(row.metric, loss, row.n_samples, divergence)


def _nan_if_none(value: float | None) -> float:
    return math.nan if value is None else value


def _none_if_nan(value: float) -> float | None:
    return None if math.isnan(value) else value


def read_trials(folder: Path) -> list[Trial]:
    """Read the trials of a run, finished or not; a torn last line is left out, an untimed trial took ``nan`` seconds.

    Raises:
        RefusedInput: the file is missing, or a line is no trial, or not what was written.
    """
    found = recover_trials(folder)
    if found.damage:
        raise RefusedInput(found.damage[0])
    return list(found.trials.values())


class Recovered(NamedTuple):
    """What is left of a run's trials.

    Attributes:
        trials: those that are whole, by index.
        damage: what is wrong with the others, a line each.
        dropped: what else does not count, a line each: damaged seconds, and what stands behind the last whole line.
        verified: whether a digest vouched for all of them.
        tidy: whether both files hold nothing but whole lines, one for each of the first trials, in order.
    """

    trials: dict[int, Trial]
    damage: tuple[str, ...]
    dropped: tuple[str, ...]
    verified: bool
    tidy: bool


def recover_trials(folder: Path) -> Recovered:
    """Read the trials of a run that are whole; damaged seconds are dropped, such a trial took ``nan`` seconds.

    Raises:
        RefusedInput: the file is missing.
    """
    timed = _read_timings(folder)
    timings = {timing.index: timing for timing in timed.rows}
    lines = _read_lines(folder / TRIALS, TrialRow)
    trials: dict[int, Trial] = {}
    for row in lines.rows:
        trials.setdefault(row.index, trial_of(row, timings))
    torn = [
        f"{folder / name}: its last line is cut off" for name, read in ((TRIALS, lines), (TIMINGS, timed)) if read.torn
    ]
    tidy = _is_tidy(lines) and _is_tidy(timed, len(lines.rows))
    return Recovered(trials, lines.damage, (*timed.damage, *torn), lines.verified, tidy)


def damaged_seconds(folder: Path) -> tuple[str, ...]:
    """Return what is wrong with the seconds that a run's trials took, a line each.

    Raises:
        RefusedInput: the file is no regular one.
    """
    return _read_timings(folder).damage


def _read_timings(folder: Path) -> "_Lines":
    return _read_lines(folder / TIMINGS, Timing) if (folder / TIMINGS).exists() else _Lines([], (), False, False)


def trials_in(run: Path) -> int:
    """Return how many whole trials a run has recorded, in all its stages."""
    folders = [folder for folder in (run, *stage_folders(run)) if (folder / TRIALS).exists()]
    return sum(len(recover_trials(folder).trials) for folder in folders)


def _is_tidy(lines: "_Lines", expected: int | None = None) -> bool:
    count = len(lines.rows) if expected is None else expected
    in_order = [row.index for row in lines.rows] == list(range(count))
    return in_order and not lines.torn and not lines.damage


class _Lines(NamedTuple):
    rows: list[Any]
    damage: tuple[str, ...]
    verified: bool
    torn: bool


def _read_lines(path: Path, kind: type[Kind]) -> _Lines:
    """The whole lines of a JSONL file; what stands behind the last newline was torn by a kill."""
    whole, _, torn = read_file(path).rpartition(b"\n")
    rows, damage, verified = [], [], True
    for number, line in enumerate(whole.split(b"\n") if whole else (), 1):
        try:
            read = parse_sealed(kind, line)
        except ValueError as error:
            what = "trial" if kind is TrialRow else "time"
            damage.append(f"{path}: line {number} is no {what} ({error})")
        else:
            rows.append(read.record)
            verified = verified and read.verified
    return _Lines(rows, tuple(damage), verified and not damage, bool(torn))
