"""A trial as the two lines of JSON that ``amc.store.results`` keeps of it: what it found, and how long it took."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from amc.store.typed_records import record
from envs.engine.types import Cost, Evaluation
from envs.search import Trial


@dataclass(frozen=True)
class Timing:
    """A line of ``timings.jsonl``."""

    index: int
    seconds: float = math.nan
    engine_seconds: float = math.nan


@dataclass(frozen=True)
class _Row:
    """A line of ``trials.jsonl``."""

    index: int
    reward: float
    feasible: bool
    evaluation: dict[str, object]
    cost: dict[str, object]
    strategy: tuple[float, ...]


def trial_as_dict(trial: Trial) -> dict[str, Any]:
    """Return everything of a trial but its seconds; JSON knows no nan, so an absent loss is null."""
    evaluation = trial.evaluation._asdict() | {"loss": _none_if_nan(trial.evaluation.loss)}
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


def trial_from_dict(values: dict[str, Any], timings: Mapping[int, Timing]) -> Trial:
    """Return the trial of a line; one without a timing took ``nan`` seconds.

    Raises:
        KeyError: a value is missing.
        TypeError: the line is no trial.
        ValueError: a value is not of its type.
    """
    row = record(_Row, values | {"strategy": tuple(values["strategy"])})
    timing = timings.get(row.index, Timing(row.index))
    return Trial(
        index=row.index,
        strategy=row.strategy,
        reward=row.reward,
        evaluation=_evaluation(row.evaluation),
        cost=record(Cost, row.cost),
        feasible=row.feasible,
        seconds=timing.seconds,
        engine_seconds=timing.engine_seconds,
    )


def _evaluation(values: dict[str, object]) -> Evaluation:
    if values["loss"] is None:
        return record(Evaluation, values | {"loss": 0.0})._replace(loss=math.nan)
    return record(Evaluation, values)


def _none_if_nan(value: float) -> float | None:
    return None if math.isnan(value) else value
