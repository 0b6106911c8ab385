"""Run folders that version 0.1.0 wrote, as it wrote them but for pictures and report: later versions read them.

They were made in an empty folder by

    python -m amc.search model=mobilenet data=digits experiment=smoke model.width=0.0625 cache_dir=cache name=plain
    python -m amc.search ... stages=2 name=staged
"""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
import torch
from preloaded_python import preloaded_python

import amc
from amc.comparison.study import read_study
from amc.store.results import read_asked, read_result, read_stage, read_trials
from amc.store.run_folders import find_runs, is_finished
from amc.weights.loading import read_header

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "tests" / "data" / "run_folder_0_1"
RUNS = {name: FOLDER / name / "mobilenet-digits" / "amc" / "seed0" for name in ("plain", "staged")}
ASKED = ["model=mobilenet", "data=digits", "experiment=smoke", "model.width=0.0625"]
# What was the default then, and had no key or another value.
AS_THEN = ["finetune.distill=0", "finetune.lr_factor=0.1", "repair=independent", "policy.start=random"]
AS_THEN += ["data.finetune_epochs=30", "policy.planning=false", "policy.warm_up=0.1", "policy.local_search=0"]


@pytest.mark.parametrize("name", RUNS)
def test_the_result_is_what_the_file_says(name: str) -> None:
    written = json.loads((RUNS[name] / "result.json").read_text())
    result = read_result(RUNS[name])
    assert (result.model, result.policy, result.trials) == ("mobilenet", "amc", 5)
    for network in ("dense", "uniform", "pruned"):
        assert vars(getattr(result, network)) == written[network]
    assert [row._asdict() for row in result.strategy] == written["strategy"]
    assert [row._asdict() for row in result.finetuned] == written["finetuned"]
    assert result.settings == written["settings"]
    assert result.images == written["images"]
    assert len(result.stages) == (2 if name == "staged" else 0)
    assert result.versions["amc-search"] == "0.1.0"


@pytest.mark.parametrize("folder", [*RUNS.values(), RUNS["staged"] / "stage1"], ids=["plain", "staged", "stage1"])
def test_every_trial_is_what_its_lines_say(folder: Path) -> None:
    lines = [json.loads(line) for line in (folder / "trials.jsonl").read_text().splitlines()]
    timings = [json.loads(line) for line in (folder / "timings.jsonl").read_text().splitlines()]
    trials = read_trials(folder)
    assert len(trials) == len(lines) == 5
    for trial, line, timing in zip(trials, lines, timings, strict=True):
        assert (trial.index, trial.reward, trial.feasible) == (line["index"], line["reward"], line["feasible"])
        assert list(trial.strategy) == line["strategy"]
        assert line["evaluation"].items() <= trial.evaluation._asdict().items()
        assert line["cost"].items() <= trial.cost._asdict().items()
        assert (trial.seconds, trial.engine_seconds) == (timing["seconds"], timing["engine_seconds"])


def test_an_earlier_stage_is_read() -> None:
    stage = read_stage(RUNS["staged"] / "stage1")
    written = json.loads((RUNS["staged"] / "stage1" / "stage.json").read_text())
    assert (stage.target, stage.flops, stage.trials) == (written["target"], written["flops"], 5)
    assert stage == read_result(RUNS["staged"]).stages[0]
    assert read_asked(RUNS["staged"] / "stage1") == read_asked(RUNS["staged"])


@pytest.mark.parametrize("weights", ["plain", "staged", "stage1/network.safetensors"])
def test_the_network_is_loaded_and_runs(weights: str) -> None:
    folder = RUNS.get(weights, RUNS["staged"] / weights)
    header = read_header(folder)
    images = header.normalization(torch.zeros(2, *header.input_shape[1:], dtype=torch.uint8))
    assert amc.load(folder)(images).shape == (2, 10)


def test_the_runs_are_found_and_compared() -> None:
    assert find_runs(FOLDER) == list(RUNS.values())
    assert all(map(is_finished, RUNS.values()))
    study = read_study(FOLDER)
    assert [len(problem.runs) for problem in study.problems] == [1, 1]
    assert study.left_out == ()


def call(module: str, *args: str, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "200"}
    command = [*preloaded_python(), "-m", module, *args]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)


@pytest.mark.parametrize("name", RUNS)
def test_the_command_given_again_finds_the_run_finished(name: str, tmp_path: Path) -> None:
    copy = tmp_path / "outputs" / name
    shutil.copytree(FOLDER / name, copy)
    stages = ["stages=2"] if name == "staged" else []
    process = call("amc.search", *ASKED, *AS_THEN, *stages, f"name={name}", "cache_dir=elsewhere", folder=tmp_path)
    assert process.returncode == 0, process.stderr
    assert "finished before" in process.stdout
    for path in (FOLDER / name).rglob("*.json*"):
        assert (copy / path.relative_to(FOLDER / name)).read_bytes() == path.read_bytes()


def test_the_command_line_compares_them(tmp_path: Path) -> None:
    shutil.copytree(FOLDER, tmp_path / "study")
    process = call("amc.compare", "study", folder=tmp_path)
    assert process.returncode == 0, process.stderr
    assert (tmp_path / "study" / "compare.html").is_file()
