"""A trial as the two lines of JSON that ``amc.store.results`` keeps of it: what it found, and how long it took."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from amc.store.typed_records import Number, Whole
from envs.engine.types import Cost, Evaluation
from envs.search import Trial


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
