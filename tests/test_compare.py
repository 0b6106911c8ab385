"""``python -m amc.compare`` as a user runs it: a real process on small run folders."""

import os
import re
import subprocess
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
from optuna.storages.journal import JournalFileBackend
from preloaded_python import preloaded_python

from amc.store.kept_layers import LayerKept
from amc.store.results import PrunedScores, Result, RunFolder, Scores
from envs.engine.types import Cost, Evaluation
from envs.search import Trial

ROOT = Path(__file__).parents[1]
FILES = {"compare.html", "compare.md", *(f"compare-1-{name}.png" for name in ("curves", "front", "strategies"))}


def result(policy: str, seed: int, test: float) -> Result:
    pruned = PrunedScores(test, 50, 50, 50, 1.0, search_top1=0.9, test_top1_before_finetune=0.8)
    layers = (LayerKept("first", 0.5, 4, 8), LayerKept("second", 0.25, 2, 8))
    return Result(
        schema=1,
        model="net",
        data="digits",
        policy=policy,
        granularity="channel",
        criterion="l1",
        resource="flops",
        target=0.5,
        seed=seed,
        trials=3,
        search_seconds=3.0,
        dense=Scores(0.95, 100, 100, 100, 2.0),
        uniform=replace(pruned, test_top1=0.7),
        pruned=pruned,
        strategy=layers,
        uniform_strategy=layers,
        finetuned=(),
        versions={},
    )


def write_run(study: Path, policy: str, seed: int, test: float, *, finished: bool = True) -> None:
    run = RunFolder(study / "net-digits" / policy / f"seed{seed}")
    for index, metric in enumerate((0.6, 0.8, 0.7)):
        evaluation = Evaluation(metric, 1 - metric, 100)
        run.record(Trial(index, (0.5, 0.25), metric - 1, evaluation, Cost(40 + index, 50, 50), True, 1.0, 0.5))
    if finished:
        run.write_result(result(policy, seed, test))


def compare(*args: object, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "200"}
    command = [*preloaded_python(), "-m", "amc.compare", *map(str, args)]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)


@pytest.fixture
def study(tmp_path: Path) -> Path:
    folder = tmp_path / "outputs" / "study"
    for seed in range(3):
        write_run(folder, "amc", seed, 0.90)
        write_run(folder, "random", seed, 0.91 + seed / 100)
    write_run(folder, "random", 3, 0.9, finished=False)
    return folder


def test_a_study_is_compared(study: Path, tmp_path: Path) -> None:
    process = compare("outputs/study", "--optuna", "studies.log", folder=tmp_path)
    assert process.returncode == 0, process.stderr
    assert process.stderr == ""
    said = " ".join(process.stdout.split())
    assert "random has the best test accuracy, 92.00%, mean of 3 seeds" in said
    assert re.search(r"random 3 3 80.00% 80.00% 92.00% 50.0% 1 ms 2.00x 2 2 s", said)
    assert re.search(r"random 3 \+0.00 pts 1 \+2.00 pts 0.25", said)
    assert "net-digits/random/seed3 unfinished: 3 trials" in said
    assert f"comparison: {Path('outputs/study/compare.html')}" in said
    assert {path.name for path in study.iterdir() if path.is_file()} == FILES
    studies = optuna.storages.JournalStorage(JournalFileBackend(str(tmp_path / "studies.log"))).get_all_studies()
    assert len(studies) == 6 + 1  # one a run, and one of the whole problem
    pictures = re.findall(r"\]\(([^)]+)\)", (study / "compare.md").read_text())
    assert {*pictures} == {name for name in FILES if name.endswith("png")}


def one_error(process: subprocess.CompletedProcess[str], exit_code: int) -> str:
    assert process.returncode == exit_code, process.stderr
    (line,) = process.stderr.splitlines()
    assert line.startswith("amc.compare: ")
    return line


@pytest.mark.parametrize(("args", "said"), [(["nowhere"], "nowhere"), ([], "study"), (["--colour", "x"], "--colour")])
def test_a_wrong_argument_is_one_line(args: list[str], said: str, tmp_path: Path) -> None:
    assert said in one_error(compare(*args, folder=tmp_path), 2)


def test_nothing_to_compare_is_one_line(tmp_path: Path) -> None:
    write_run(tmp_path, "amc", 0, 0.9, finished=False)
    assert "net-digits/amc/seed0" in one_error(compare(".", folder=tmp_path), 2)
