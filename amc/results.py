"""Run folders: the only module that opens the files of a run.

| file | holds | same for the same seed |
|---|---|---|
| ``trials.jsonl`` | one line a trial, on disk before the next episode begins | yes |
| ``timings.jsonl`` | the seconds of each trial | no |
| ``result.json`` | what the run found: the dense, the uniform and the pruned network | all but seconds and latency |

A kill at any moment leaves every file whole, see ``amc.durable``.
"""

import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from amc.durable import append_line, read_file, write_file
from amc.errors import RefusedInput, StorageError
from amc.latency import Latency
from envs.engine.types import Cost, Evaluation
from envs.search import Trial

SCHEMA = 1
TRIALS, TIMINGS, RESULT = "trials.jsonl", "timings.jsonl", "result.json"


class LayerKept(NamedTuple):
    """How many channels, or other units, of a layer are kept: ``kept`` of ``of``, a ratio of ``keep``."""

    layer: str
    keep: float
    kept: int
    of: int


class FineTuned(NamedTuple):
    """A trial and its top-1 on the search split before and after fine-tuning."""

    trial: int
    search_top1_before_finetune: float
    search_top1: float


@dataclass(frozen=True)
class Scores:
    """A network as measured. ``flops`` are multiply-accumulates of convolutions and linear layers."""

    test_top1: float
    flops: int
    params: int
    memory_bytes: int
    latency_ms: float


@dataclass(frozen=True)
class PrunedScores(Scores):
    """A pruned and fine-tuned network as measured."""

    search_top1: float
    test_top1_before_finetune: float


@dataclass(frozen=True)
class Result:
    """What ``result.json`` holds.

    ``uniform`` is one ratio for all layers, fine-tuned like the winner; ``images`` is the size of every split, and
    ``latencies`` what stands behind ``latency_ms``.
    """

    schema: int
    model: str
    data: str
    policy: str
    granularity: str
    criterion: str
    resource: str
    target: float
    seed: int
    trials: int
    search_seconds: float
    dense: Scores
    uniform: PrunedScores
    pruned: PrunedScores
    strategy: tuple[LayerKept, ...]
    uniform_strategy: tuple[LayerKept, ...]
    finetuned: tuple[FineTuned, ...]
    versions: dict[str, str]
    images: dict[str, int] = field(default_factory=dict)
    latencies: tuple[Latency, ...] = ()


class RunFolder:
    """A run's folder, open for writing.

    Args:
        folder: made where missing. Trials and result of an earlier run in it are removed: a folder holds one run.

    Raises:
        StorageError: the folder cannot be made or written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for name in (TRIALS, TIMINGS, RESULT):
                (folder / name).unlink(missing_ok=True)
        except OSError as error:
            raise StorageError(
                f"{folder}: cannot be made or written ({error.strerror}); choose another name"
            ) from error

    def record(self, trial: Trial) -> None:
        """Append a trial; it is on disk when this returns. A sink of ``RecordTrials``."""
        seconds = {"index": trial.index, "seconds": trial.seconds, "engine_seconds": trial.engine_seconds}
        append_line(self.folder / TRIALS, _trial_as_dict(trial))
        append_line(self.folder / TIMINGS, seconds)

    def write(self, name: str, content: bytes | str) -> Path:
        """Write a file of the run and return its path."""
        return write_file(self.folder / name, content)

    def write_result(self, result: Result) -> Path:
        """Write ``result.json``."""
        as_dict = asdict(result)
        for key in ("strategy", "uniform_strategy", "finetuned"):
            as_dict[key] = [row._asdict() for row in getattr(result, key)]
        return self.write(RESULT, json.dumps(as_dict, indent=1, allow_nan=False) + "\n")


def read_trials(folder: Path) -> list[Trial]:
    """Read the trials of a run, finished or not; a torn last line is left out, an untimed trial took ``nan`` seconds.

    Raises:
        RefusedInput: the file is missing, or a line is no trial.
    """
    timings = {row["index"]: row for row in _read_lines(folder / TIMINGS)}
    try:
        return [_trial_from_dict(row, timings.get(row["index"], {})) for row in _read_lines(folder / TRIALS)]
    except (KeyError, TypeError, ValueError) as error:
        raise RefusedInput(f"{folder / TRIALS}: a line is no trial ({error!r})") from error


def read_result(folder: Path) -> Result:
    """Read ``result.json``.

    Raises:
        RefusedInput: the file is missing or is no result of this schema.
    """
    path = folder / RESULT
    try:
        content = json.loads(read_file(path))
        if content["schema"] != SCHEMA:
            raise RefusedInput(f"{path}: schema {content['schema']}, this version reads {SCHEMA}")
        for key, kind in (("dense", Scores), ("uniform", PrunedScores), ("pruned", PrunedScores)):
            content[key] = kind(**content[key])
        for key, row in (("strategy", LayerKept), ("uniform_strategy", LayerKept), ("finetuned", FineTuned)):
            content[key] = tuple(row(**values) for values in content[key])
        content["latencies"] = tuple(Latency(**values) for values in content["latencies"])
        return Result(**content)
    except (KeyError, TypeError, ValueError) as error:
        raise RefusedInput(f"{path}: no result of a run ({error!r})") from error


def _trial_as_dict(trial: Trial) -> dict[str, Any]:
    """Everything of a trial but its seconds; JSON knows no nan, so an absent loss is null."""
    evaluation = trial.evaluation._asdict() | {"loss": _none_if_nan(trial.evaluation.loss)}
    return {
        "index": trial.index,
        "reward": trial.reward,
        "feasible": trial.feasible,
        "evaluation": evaluation,
        "cost": trial.cost._asdict(),
        "strategy": list(trial.strategy),
    }


def _trial_from_dict(row: dict[str, Any], timing: dict[str, float]) -> Trial:
    loss = row["evaluation"]["loss"]
    return Trial(
        index=row["index"],
        strategy=tuple(row["strategy"]),
        reward=row["reward"],
        evaluation=Evaluation(**row["evaluation"] | {"loss": math.nan if loss is None else loss}),
        cost=Cost(**row["cost"]),
        feasible=row["feasible"],
        seconds=timing.get("seconds", math.nan),
        engine_seconds=timing.get("engine_seconds", math.nan),
    )


def _none_if_nan(value: float) -> float | None:
    return None if math.isnan(value) else value


def _read_lines(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a JSONL file; what stands behind the last newline was torn by a kill."""
    whole, _, _ = read_file(path).rpartition(b"\n")
    try:
        return [json.loads(line) for line in whole.splitlines()]
    except ValueError as error:
        raise RefusedInput(f"{path}: a line is no JSON ({error})") from error
