"""TensorBoard's own reader says what the table of a study holds."""

from dataclasses import replace
from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from amc.store.results import Result
from amc.tracking.hparams import write_hparams


def row(folder: Path) -> tuple[dict[str, object], dict[str, float]]:
    """What was asked and what was measured, as TensorBoard reads them."""
    events = EventAccumulator(str(folder)).Reload()
    content = events.summary_metadata["_hparams_/session_start_info"].plugin_data.content
    asked = HParamsPluginData.FromString(content).session_start_info.hparams
    values = {name: getattr(value, value.WhichOneof("kind")) for name, value in asked.items()}
    return values, {tag: events.Scalars(tag)[-1].value for tag in events.Tags()["scalars"]}


def test_a_row_a_run_says_who_searched_and_what_else_differs(sample_result: Result, tmp_path: Path) -> None:
    runs = {
        "amc/seed0": replace(sample_result, policy="amc", seed=0),
        "random/seed1": replace(sample_result, policy="random", seed=1, trials=44, stopped=True),
    }
    for _ in range(2):  # written again, the table is replaced
        write_hparams(tmp_path, list(runs.items()))
    first, measured = row(tmp_path / "amc-compare" / "amc/seed0")
    assert set(first) == {"policy", "seed", "evaluations", "interrupted"}
    assert (first["policy"], first["interrupted"]) == ("amc", False)
    second, _ = row(tmp_path / "amc-compare" / "random/seed1")
    assert (second["seed"], second["evaluations"], second["interrupted"]) == (1, 44, True)
    assert abs(measured["test top-1"] - sample_result.pruned.test_top1) < 1e-6
    assert len(list(tmp_path.rglob("events.*"))) == 2 * len(runs)  # torch writes what was asked into a file of its own
