"""The page on a run's files names every key of every record, and every file that a run leaves."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from amc.measurement.latency import Latency
from amc.report.provenance import MADE, Provenance
from amc.store import run_folders
from amc.store.conditions import Conditions
from amc.store.kept_layers import LayerKept, StageKept
from amc.store.results import FineTuned, PrunedScores, Result, Scores, TimeCheck
from amc.store.trial_rows import Timing, trial_as_dict
from amc.weights.export import ONNX_FILE, PT2_FILE, WEIGHTS_FILE
from amc.weights.metadata import Header, ModelSpec
from envs.engine.types import Cost, Evaluation, LayerPart, NetworkLayer
from envs.search import Trial

PAGE = (Path(__file__).parents[2] / "docs/reference/run_folder.md").read_text()
TRIAL = Trial(0, (1.0,), 0.5, Evaluation(0.5, 1.0, 10), Cost(1.0, 1.0), True, 1.0, 1.0)
RECORDS: list[Any] = [
    *(Result, Scores, PrunedScores, LayerKept, FineTuned, StageKept, Latency, Timing),
    *(Header, ModelSpec, Cost, Evaluation, Conditions, NetworkLayer, LayerPart, Provenance, TimeCheck),
]
FILES = [run_folders.TRIALS, run_folders.TIMINGS, run_folders.RESULT, run_folders.ASKED, run_folders.NETWORK, MADE]
FILES += [run_folders.CONDITIONS, run_folders.TOLD, run_folders.LATENCY_TABLE, run_folders.TIME_CHECKS]


def keys(record: Any) -> tuple[str, ...]:  # noqa: ANN401  a dataclass or a named tuple
    if dataclasses.is_dataclass(record):
        return tuple(field.name for field in dataclasses.fields(record))
    fields: tuple[str, ...] = record._fields
    return fields


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.__name__)
def test_every_key_of_a_record_has_its_meaning(record: Any) -> None:  # noqa: ANN401
    assert [key for key in keys(record) if f"`{key}`" not in PAGE] == []


def test_every_key_of_a_trials_line_has_its_meaning() -> None:
    assert [key for key in trial_as_dict(TRIAL) if f"| `{key}` |" not in PAGE] == []


@pytest.mark.parametrize("name", [*FILES, f"stage1/{run_folders.STAGE}", WEIGHTS_FILE, PT2_FILE, ONNX_FILE])
def test_every_file_of_a_run_is_named(name: str) -> None:
    assert f"`{name}`" in PAGE
