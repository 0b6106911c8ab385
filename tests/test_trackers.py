"""Tracked searches as a user runs them: the search is the untracked one, and every figure of it arrives."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

ROOT = Path(__file__).parents[1]
SMOKE = ["experiment=smoke", "policy=random"]
FOLDER = "outputs/default/mobilenet-digits/random/seed0"
NO_SERVER = {"WANDB_BASE_URL": "http://127.0.0.1:9", "WANDB_API_KEY": "0" * 40}


def run(args: list[str], folder: Path, cache: Path, **more: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    environment |= {"PYTHONPATH": str(ROOT), "COLUMNS": "300", "HOME": str(folder)} | more
    command = [sys.executable, "-m", "amc.search", *args, f"cache_dir={cache}"]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


class Untracked(NamedTuple):
    """A search that nobody follows: its trials, and the names of the modules that it imported."""

    trials: bytes
    imported: set[str]


@pytest.fixture(scope="module")
def untracked_run(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Untracked:
    folder = tmp_path_factory.mktemp("untracked")
    process = run(SMOKE, folder, cache, PYTHONPROFILEIMPORTTIME="1")
    assert process.returncode == 0, process.stderr
    lines = [line for line in process.stderr.splitlines() if line.startswith("import time:")]
    imported = {line.rpartition("|")[2].strip() for line in lines}
    return Untracked((folder / FOLDER / "trials.jsonl").read_bytes(), imported)


@pytest.fixture(scope="module")
def untracked(untracked_run: Untracked) -> bytes:
    return untracked_run.trials


def test_trackers_are_imported_only_when_they_are_asked_for(untracked_run: Untracked) -> None:
    assert "torch" in untracked_run.imported
    assert not [name for name in untracked_run.imported if name.partition(".")[0] in ("wandb", "tensorboard")]


def expected(folder: Path) -> list[dict[str, float]]:
    """What a tracker is to be told of each trial, from the files of the run."""
    dense = json.loads((folder / "result.json").read_text())["dense"]["flops"]
    lines = [(folder / name).read_text().splitlines() for name in ("trials.jsonl", "timings.jsonl")]
    figures, best = [], float("-inf")
    for trial, timing in zip(*([json.loads(line) for line in file] for file in lines), strict=True):
        best = max(best, trial["reward"])
        figures.append(
            {
                "reward": trial["reward"],
                "best_reward": best,
                "metric": trial["evaluation"]["metric"],
                "resource_kept": trial["cost"]["flops"] / dense,
                "seconds": timing["seconds"],
                "engine_seconds": timing["engine_seconds"],
                "policy_seconds": timing["seconds"] - timing["engine_seconds"],
            }
        )
    return figures


def wandb_records(folder: Path, kind: str) -> list[dict[str, Any]]:
    (file,) = (folder / "wandb").glob("offline-run-*/*.wandb")
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(file)]
    read = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    return [record[kind] for record in map(json.loads, read.stdout.splitlines()) if record["type"] == kind]


@pytest.mark.slow
def test_wandb_has_what_the_run_has(untracked: bytes, tmp_path: Path, cache: Path) -> None:
    process = run([*SMOKE, "tracker=wandb"], tmp_path, cache)
    assert process.returncode == 0, process.stderr
    assert "wandb" not in process.stdout + process.stderr
    folder = tmp_path / FOLDER
    assert (folder / "trials.jsonl").read_bytes() == untracked
    rows = [record["item"] for record in wandb_records(folder, "history") if "reward" in record["item"]]
    assert [{name: row[name] for name in expected(folder)[0]} for row in rows] == expected(folder)
    assert [row["trial"] for row in rows] == list(range(5))
    summary = {key: value for record in wandb_records(folder, "summary") for key, value in record["update"].items()}
    result = json.loads((folder / "result.json").read_text())
    for network in ("dense", "uniform", "pruned"):
        for figure in ("test_top1", "flops", "params", "latency_ms"):
            assert summary[f"{network}/{figure}"] == result[network][figure]
    assert summary["search_seconds"] == result["search_seconds"]
    assert not (tmp_path / ".netrc").exists()


@pytest.mark.slow
def test_tensorboard_has_what_the_run_has(untracked: bytes, tmp_path: Path, cache: Path) -> None:
    process = run([*SMOKE, "tracker=tensorboard"], tmp_path, cache)
    assert process.returncode == 0, process.stderr
    folder = tmp_path / FOLDER
    assert (folder / "trials.jsonl").read_bytes() == untracked
    events = EventAccumulator(str(folder / "tensorboard")).Reload()
    for name in expected(folder)[0]:
        # TensorBoard keeps single precision.
        values = [pytest.approx(figures[name], rel=1e-6) for figures in expected(folder)]
        assert [event.value for event in events.Scalars(f"search/{name}")] == values
    assert set(events.Tags()["images"]) == {"pictures/channels", "pictures/resource", "pictures/reward"}


@pytest.mark.slow
def test_without_its_server_a_search_is_the_same_with_one_warning(
    untracked: bytes, tmp_path: Path, cache: Path
) -> None:
    process = run([*SMOKE, "tracker=wandb", "tracker.mode=online"], tmp_path, cache, **NO_SERVER)
    assert process.returncode == 0, process.stderr
    assert (tmp_path / FOLDER / "trials.jsonl").read_bytes() == untracked
    assert (tmp_path / FOLDER / "result.json").exists()
    warnings = [line for line in (tmp_path / FOLDER / "search.log").read_text().splitlines() if " WARNING " in line]
    assert len(warnings) == 1
    assert "WandbTracker: " in warnings[0]
    assert process.stderr == ""


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["tracker=nowhere"], "tracker=nowhere: must be one of none, tensorboard, wandb"),
        (["tracker=wandb", "tracker.mode=sometimes"], "tracker.mode=sometimes"),
        (["tracker=wandb", "+tracker.colour=red"], "colour"),
        (["tracker.mode=online"], "tracker"),
        (["tracker=tensorboard", "tracker._target_=amc.nowhere.Tracker"], "amc.nowhere"),
    ],
)
def test_a_wrong_tracker_is_refused_at_the_door(args: list[str], said: str, tmp_path: Path) -> None:
    process = run(args, tmp_path, tmp_path)
    assert process.returncode == 2, process.stderr
    assert len(process.stderr.splitlines()) == 1
    assert said in process.stderr
