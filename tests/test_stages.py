"""Staged pruning as a user runs it: real processes, real data, tiny settings."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from preloaded_python import preloaded_python
from torch.utils.flop_counter import FlopCounterMode

import amc
from amc.weights.loading import read_header

ROOT = Path(__file__).parents[1]
FOLDER = Path("outputs/default/mobilenet-digits/random/seed0")
ARGS = ["experiment=smoke", "policy=random", "stages=3", "target=0.3"]
POLICIES = "amc,td3,sac,reconstruction,sensitivity,optuna,pareto,global_threshold,random,uniform"


def command(args: list[str], cache: Path) -> list[str]:
    return [sys.executable, "-m", "amc.search", *args, f"cache_dir={cache}"]


ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "200"}


def run(args: list[str], folder: Path, cache: Path) -> subprocess.CompletedProcess[str]:
    folder.mkdir(exist_ok=True)
    return subprocess.run(
        [*preloaded_python(), *command(args, cache)[1:]],
        cwd=folder,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=300,
    )


def run_until(there: Callable[[], bool], number: signal.Signals, args: list[str], folder: Path, cache: Path) -> int:
    """Send a signal as soon as something is there, and return the exit code."""
    folder.mkdir(exist_ok=True)
    with subprocess.Popen(
        command(args, cache), cwd=folder, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        while process.poll() is None and not there():
            time.sleep(0.005)
        process.send_signal(number)
        return process.wait(timeout=120)


def lines(file: Path) -> int:
    return file.read_bytes().count(b"\n") if file.exists() else 0


def result_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / FOLDER / "result.json").read_text())


def trials_of(folder: Path) -> dict[str, bytes]:
    run_folder = folder / FOLDER
    return {str(path.relative_to(run_folder)): path.read_bytes() for path in run_folder.rglob("trials.jsonl")}


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def staged(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    """Where a staged run has ended."""
    folder = tmp_path_factory.mktemp("staged")
    process = run(ARGS, folder, cache)
    assert process.returncode == 0, process.stderr
    return folder


def test_the_targets_fall_geometrically_and_are_met(staged: Path) -> None:
    result = result_of(staged)
    targets = [stage["target"] for stage in result["stages"]]
    assert targets == pytest.approx([0.3 ** (1 / 3), 0.3 ** (2 / 3), 0.3])
    assert targets[-1] == result["target"] == 0.3
    for stage in result["stages"]:
        assert stage["flops"] <= stage["target"] * result["dense"]["flops"]
        assert stage["trials"] == 5
    assert result["pruned"]["flops"] == result["stages"][-1]["flops"]
    assert result["uniform"]["flops"] <= 0.3 * result["dense"]["flops"]
    assert result["search_seconds"] == pytest.approx(sum(stage["search_seconds"] for stage in result["stages"]))
    assert result["settings"]["stages"] == 3


def test_the_strategy_is_what_the_network_has_of_the_original(staged: Path) -> None:
    result, model = result_of(staged), amc.load(staged / FOLDER)
    for row in result["strategy"]:
        module = model.get_submodule(row["layer"])
        assert row["kept"] == (module.in_features if row["layer"] == "classifier" else module.in_channels)
    dense = [row["of"] for row in result["uniform_strategy"]]
    assert [row["of"] for row in result["strategy"]] == dense
    assert [row["of"] for row in result["stages"][0]["strategy"]] == dense
    with FlopCounterMode(display=False) as counter:
        model(torch.zeros(read_header(staged / FOLDER).input_shape))
    assert counter.get_total_flops() / 2 == result["pruned"]["flops"]
    assert sum(parameter.numel() for parameter in model.parameters()) == result["pruned"]["params"]


def test_a_stage_leaves_its_trials_and_its_network(staged: Path) -> None:
    for stage in ("stage1", "stage2"):
        left = {path.name for path in (staged / FOLDER / stage).iterdir()}
        assert left == {"asked.json", "network.safetensors", "stage.json", "timings.jsonl", "trials.jsonl"}
        row = json.loads((staged / FOLDER / stage / "stage.json").read_text())
        model = amc.load(staged / FOLDER / stage / "network.safetensors")
        assert sum(parameter.numel() for parameter in model.parameters()) == row["params"]
    report = (staged / FOLDER / "report.html").read_text()
    assert "The stages" in report
    assert "66.9%" in report


@pytest.mark.slow
@pytest.mark.parametrize("when", ["in its first stage", "between stages"])
def test_a_killed_run_goes_on_as_if_nothing_had_happened(when: str, staged: Path, tmp_path: Path, cache: Path) -> None:
    first = tmp_path / FOLDER / "stage1"

    def there() -> bool:
        return lines(first / "trials.jsonl") >= 2 if when == "in its first stage" else (first / "stage.json").exists()

    assert run_until(there, signal.SIGKILL, ARGS, tmp_path, cache) == -signal.SIGKILL
    assert not (tmp_path / FOLDER / "result.json").exists()
    other = run([*ARGS, "seed=0", "target=0.4"], tmp_path, cache)
    assert other.returncode == 2
    assert "target=0.3" in other.stderr
    again = run(ARGS, tmp_path, cache)
    assert again.returncode == 0, again.stderr
    said = "stage 1 of 3: finished before" if when == "between stages" else "going on behind"
    assert said in " ".join(again.stdout.split())
    assert trials_of(tmp_path) == trials_of(staged)
    expected, found = result_of(staged), result_of(tmp_path)
    for key in ("trials", "strategy", "finetuned", "settings", "uniform_strategy"):
        assert found[key] == expected[key]
    assert found["pruned"]["test_top1"] == expected["pruned"]["test_top1"]
    untimed = [[stage | {"search_seconds": 0} for stage in result["stages"]] for result in (found, expected)]
    assert untimed[0] == untimed[1]


def test_a_finished_run_is_shown_and_another_one_refused(staged: Path, cache: Path) -> None:
    before = (staged / FOLDER / "result.json").read_bytes()
    again = run(ARGS, staged, cache)
    assert again.returncode == 0
    assert "finished before" in again.stdout
    assert "top-1 on test" in again.stdout
    assert "Stages: kept of the original" in again.stdout
    other = run([*ARGS[:2], "stages=2", "target=0.3"], staged, cache)
    assert other.returncode == 2
    assert "stages=3" in other.stderr
    assert (staged / FOLDER / "result.json").read_bytes() == before


@pytest.mark.slow
def test_an_overwritten_run_takes_its_stages_along(tmp_path: Path, cache: Path) -> None:
    first = tmp_path / FOLDER / "stage1"
    run_until((first / "stage.json").exists, signal.SIGKILL, ARGS, tmp_path, cache)
    once = ["experiment=smoke", "policy=random", "target=0.3", "overwrite=true"]
    assert run(once, tmp_path, cache).returncode == 0
    assert not list((tmp_path / FOLDER).glob("stage*"))
    assert "stages" not in result_of(tmp_path)
    assert "stages" not in json.loads((tmp_path / FOLDER / "asked.json").read_text())


@pytest.mark.slow
def test_a_signal_in_an_early_stage_ends_the_run_and_it_goes_on_later(
    staged: Path, tmp_path: Path, cache: Path
) -> None:
    first = tmp_path / FOLDER / "stage1"
    assert run_until(lambda: lines(first / "trials.jsonl") >= 1, signal.SIGINT, ARGS, tmp_path, cache) == 130
    assert not (tmp_path / FOLDER / "result.json").exists()
    assert run(ARGS, tmp_path, cache).returncode == 0
    assert trials_of(tmp_path) == trials_of(staged)


@pytest.mark.slow
def test_a_staged_run_is_compared_as_one_run(staged: Path, cache: Path) -> None:
    assert run([*ARGS, "seed=1"], staged, cache).returncode == 0
    cut = staged / FOLDER.with_name("seed2")
    run_until((cut / "stage1" / "trials.jsonl").exists, signal.SIGKILL, [*ARGS, "seed=2"], staged, cache)
    process = subprocess.run(
        [sys.executable, "-m", "amc.compare", "outputs/default"],
        cwd=staged,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert process.returncode == 0, process.stderr
    assert re.search(r"random +2 ", process.stdout)
    assert "unfinished: its last stage has not begun" in " ".join(process.stdout.split())
    assert "stage1" not in process.stdout


@pytest.mark.slow
@pytest.mark.parametrize("granularity", ["element", "vector", "kernel", "n_m"])
def test_nothing_that_was_pruned_comes_back(granularity: str, tmp_path: Path, cache: Path) -> None:
    process = run([*ARGS, "policy=uniform", f"granularity={granularity}"], tmp_path, cache)
    assert process.returncode == 0, process.stderr
    folder = (tmp_path / FOLDER).parents[1] / "uniform/seed0"
    result = json.loads((folder / "result.json").read_text())
    files = ("stage1/network.safetensors", "stage2/network.safetensors", "pruned.safetensors")
    networks = [safetensors.torch.load_file(folder / file) for file in files]
    for before, after in pairwise(networks):
        for name, weight in before.items():
            if weight.ndim > 1:
                assert not after[name][weight == 0].any()
    for network, stage in zip(networks, result["stages"], strict=True):
        zeros = sum(int((weight == 0).sum()) for weight in network.values() if weight.ndim > 1)
        assert result["dense"]["params"] - zeros == stage["params"]
    if granularity != "n_m":
        last = networks[-1]
        for row in result["strategy"]:
            weight = last[f"{row['layer']}.weight"]
            units = weight if granularity == "element" or weight.ndim == 2 else weight.flatten(0, 1)
            assert granularity == "vector" or row["kept"] == int(units.reshape(row["of"], -1).any(1).sum())


@pytest.mark.slow
def test_every_policy_searches_in_stages(tmp_path: Path, cache: Path) -> None:
    args = ["-m", "experiment=smoke", f"policy={POLICIES}", "stages=2", "target=0.3", "episodes=3"]
    process = run(args, tmp_path, cache)
    assert process.returncode == 0, process.stderr
    results = [json.loads(path.read_text()) for path in tmp_path.rglob("result.json")]
    assert {result["policy"] for result in results} == set(POLICIES.split(","))
    for result in results:
        assert len(result["stages"]) == 2
        assert result["pruned"]["flops"] <= 0.3 * result["dense"]["flops"]
