"""What W&B keeps, read back from its own files with its own reader; and servers that do not serve."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from amc.errors import ConfigError
from amc.tracking.process import TrackerProcess
from amc.tracking.tracker import Ending, TrackedRun
from amc.tracking.wandb_tracker import WandbTracker

SETTINGS = {"_target_": "amc.tracking.wandb_tracker.WandbTracker"}
FIGURES = [{"reward": -0.9 + index / 7, "best_reward": -0.9 + index / 7, "seconds": 0.1 * index} for index in range(5)]
MOST_SECONDS = 10.0


def records(folder: Path) -> list[dict[str, Any]]:
    """The records of the only run in a folder."""
    (run,) = (folder / "wandb").glob("*run-*/*.wandb")
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(run)]
    read = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    return [json.loads(line) for line in read.stdout.splitlines()]


def of_kind(kind: str, found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [record[kind] for record in found if record["type"] == kind]


def ending(folder: Path) -> Ending:
    model = folder / "pruned.safetensors"
    model.write_bytes(b"weights")
    Image.new("RGB", (4, 3), (200, 10, 10)).save(folder / "reward.png")
    return Ending(
        {"dense/test_top1": 0.97, "pruned/flops": 12.0}, [("conv", 0.5, 8, 16)], model, [folder / "reward.png"]
    )


def track(settings: dict[str, Any], run: TrackedRun, patience: float = 120.0) -> float:
    """Tell a tracker of a whole run, and return the seconds that it cost."""
    started = time.monotonic()
    with TrackerProcess(settings, run, patience) as process:
        for index, figures in enumerate(FIGURES):
            process.report(index, figures)
        process.finish(ending(run.folder))
    return time.monotonic() - started


def test_a_run_without_an_account_is_whole_on_disk(
    tracked_run: TrackedRun, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    track(SETTINGS, tracked_run)
    assert not caplog.records
    assert capfd.readouterr() == ("", "")
    found = records(tracked_run.folder)

    (run,) = of_kind("run", found)
    assert (run["project"], run["run_group"], run["job_type"]) == ("amc-search", "study", "random")
    assert run["display_name"] == tracked_run.name
    assert run["tags"] == ["net", "target=0.5", "t" * 64]
    config = run["config"]["update"]
    assert {key: config[key] for key in ("seed", "policy")} == {"seed": 3, "policy": {"seed": 3}}

    (every,) = [metric for metric in of_kind("metric", found) if "glob_name" in metric]
    assert (every["glob_name"], every["step_metric"]) == ("*", "trial")
    history = [row["item"] for row in of_kind("history", found)]
    trials = [row for row in history if "reward" in row]
    assert [row["trial"] for row in trials] == [row["_step"] for row in trials] == list(range(len(FIGURES)))
    assert [{name: row[name] for name in FIGURES[0]} for row in trials] == FIGURES

    summary = {key: value for update in of_kind("summary", found) for key, value in update["update"].items()}
    assert (summary["dense/test_top1"], summary["pruned/flops"]) == (0.97, 12)
    models = {artifact["name"]: artifact for artifact in of_kind("artifact", found) if artifact["type"] == "model"}
    (content,) = models[tracked_run.name]["manifest"]["contents"]
    assert (content["path"], content["local_path"]) == (
        "pruned.safetensors",
        str(tracked_run.folder / "pruned.safetensors"),
    )
    (table,) = (tracked_run.folder / "wandb").glob("*run-*/files/media/table/*.json")
    assert json.loads(table.read_text()) == {"columns": ["layer", "keep", "kept", "of"], "data": [["conv", 0.5, 8, 16]]}
    (picture,) = (tracked_run.folder / "wandb").glob("*run-*/files/media/images/**/*.png")
    assert picture.read_bytes() == (tracked_run.folder / "reward.png").read_bytes()
    assert [ended["exit_code"] for ended in of_kind("exit", found)] == [0]
    # W&B's caches are in the run's folder too.
    assert not list((tracked_run.folder.parent / "home").iterdir())


def test_a_failed_run_is_closed_as_failed(tracked_run: TrackedRun) -> None:
    with TrackerProcess(SETTINGS, tracked_run) as process:
        process.report(0, FIGURES[0])
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if list((tracked_run.folder / "wandb").glob("*run-*/*.wandb")) and of_kind("exit", records(tracked_run.folder)):
            break
        time.sleep(0.5)
    found = records(tracked_run.folder)
    assert [ended["exit_code"] for ended in of_kind("exit", found)] == [1]
    assert [row["item"]["reward"] for row in of_kind("history", found)] == [FIGURES[0]["reward"]]


@pytest.mark.parametrize("setting", [{"mode": "sometimes"}, {"mode": ""}])
def test_a_wrong_mode_is_refused(setting: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match=r"tracker\.mode="):
        WandbTracker(**setting)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(ConfigError, match="needs wandb"):
        WandbTracker()


def test_what_wandb_mode_says_is_respected(tracked_run: TrackedRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    track(SETTINGS, tracked_run)
    assert not list(tracked_run.folder.glob("wandb/*run-*"))


@pytest.mark.slow
def test_a_server_that_does_not_serve_costs_seconds_and_one_line(
    bad_server: str, tracked_run: TrackedRun, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("WANDB_BASE_URL", bad_server)
    # As for who is logged in.
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    assert track(SETTINGS, tracked_run, patience=8.0) < MOST_SECONDS
    assert len(caplog.records) == 1
    assert caplog.records[0].getMessage().startswith("WandbTracker: ")


@pytest.mark.slow
@pytest.mark.parametrize("bad_server", ["die"], indirect=True)
def test_what_a_server_that_died_did_not_take_is_on_disk(
    bad_server: str, tracked_run: TrackedRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_BASE_URL", bad_server)
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    track(SETTINGS, tracked_run, patience=1.0)
    deadline = time.monotonic() + 60
    rewards: list[float] = []
    while len(rewards) < len(FIGURES) and time.monotonic() < deadline:
        time.sleep(1)
        history = of_kind("history", records(tracked_run.folder))
        rewards = [row["item"]["reward"] for row in history if "reward" in row["item"]]
    assert rewards == [figures["reward"] for figures in FIGURES]
