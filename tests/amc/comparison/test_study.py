import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from amc.comparison.study import differing, read_study
from amc.store.kept_layers import LayerKept
from amc.store.results import RunFolder
from amc.store.run_folders import RESULT, TRIALS
from envs.search import Trial

AddRun = Callable[..., Path]
METRICS = [0.5, 0.8]


def test_runs_are_sorted_by_policy_and_seed(add_run: AddRun, tmp_path: Path) -> None:
    for policy, seed in (("random", 10), ("amc", 0), ("random", 2)):
        add_run(policy, seed, METRICS, 0.9)
    (problem,) = read_study(tmp_path).problems
    assert problem.title == "mobilenet on digits"
    found = {policy.name: [run.result.seed for run in policy.runs] for policy in problem.policies}
    assert found == {"amc": [0], "random": [2, 10]}
    assert problem.policies[0].runs[0].best.evaluation.metric == 0.8


@pytest.mark.parametrize(
    "change",
    [
        {"model": "resnet20"},
        {"data": "cifar10"},
        {"resource": "params"},
        {"target": 0.3},
        {"granularity": "element"},
        {"criterion": "l2"},
        {"images": {"test": 5}},
        {"own": {"constraint": "bound"}},
        {"own": {"episodes": 7}},
        {"own": {"stages": 3}},
        {"own": {"finetune.epochs": 2}},
        {"strategy": (LayerKept("other", 0.5, 8, 16), LayerKept("classifier", 0.25, 32, 128))},
    ],
)
def test_runs_of_another_problem_are_not_compared(change: dict[str, object], add_run: AddRun, tmp_path: Path) -> None:
    add_run("amc", 0, METRICS, 0.9)
    add_run("random", 0, METRICS, 0.9, **change)
    problems = read_study(tmp_path).problems
    assert [[policy.name for policy in problem.policies] for problem in problems] in (
        [["amc"], ["random"]],
        [["random"], ["amc"]],
    )
    assert len({problem.title for problem in problems}) == 2


def test_a_policy_with_two_settings_of_its_own_is_two_policies(add_run: AddRun, tmp_path: Path) -> None:
    for sampler in ("tpe", "cmaes"):
        add_run("optuna", 0, METRICS, 0.9, own={"policy.sampler": sampler})
    add_run("amc", 0, METRICS, 0.9, own={"policy.sigma": 0.5})
    (problem,) = read_study(tmp_path).problems
    assert {policy.name for policy in problem.policies} == {"amc", "optuna (sampler=tpe)", "optuna (sampler=cmaes)"}


def test_the_same_run_twice_counts_once(add_run: AddRun, tmp_path: Path) -> None:
    add_run("amc", 0, METRICS, 0.9)
    add_run("amc", 0, METRICS, 0.1)
    study = read_study(tmp_path)
    (problem,) = study.problems
    assert [run.result.pruned.test_top1 for run in problem.runs] == [0.9]
    (left,) = study.left_out
    assert left.name.endswith("seed0-again")
    assert "same policy, seed and problem" in left.reason


def test_runs_without_settings_are_compared_within_their_study(add_run: AddRun, tmp_path: Path) -> None:
    for policy in ("amc", "random"):
        add_run(policy, 0, METRICS, 0.9, settings={})
    (tmp_path / "mobilenet-digits").rename(tmp_path / "moved")
    (tmp_path / "first").mkdir()
    (tmp_path / "moved").rename(tmp_path / "first" / "mobilenet-digits")
    add_run("uniform", 0, METRICS, 0.9, settings={})
    problems = read_study(tmp_path).problems
    assert sorted(sorted(policy.name for policy in one.policies) for one in problems) == [
        ["amc", "random"],
        ["uniform"],
    ]


def test_an_unfinished_run_is_named(add_run: AddRun, tmp_path: Path) -> None:
    (add_run("amc", 3, METRICS, 0.9) / RESULT).unlink()
    study = read_study(tmp_path)
    assert study.problems == ()
    assert study.left_out == (("mobilenet-digits/amc/seed3", "unfinished: 2 trials, no result yet"),)


def _torn(folder: Path) -> None:
    (folder / RESULT).write_bytes((folder / RESULT).read_bytes()[:-30])


def _fewer_trials(folder: Path) -> None:
    (folder / TRIALS).write_text((folder / TRIALS).read_text().splitlines()[0] + "\n")


def _infeasible(folder: Path) -> None:
    text = re.sub(', "sha256": "[0-9a-f]*"', "", (folder / TRIALS).read_text())
    (folder / TRIALS).write_text(text.replace("true", "false"))


def unsealed(path: Path) -> dict[str, object]:
    """A result as whoever wrote it himself would leave it: without a digest."""
    return {key: value for key, value in json.loads(path.read_text()).items() if key != "sha256"}


def _changed(**change: object) -> Callable[[Path], None]:
    def change_result(folder: Path) -> None:
        (folder / RESULT).write_text(json.dumps(unsealed(folder / RESULT) | change))

    return change_result


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (_torn, "no result of a run"),
        (_fewer_trials, "1 trials are left of 2"),
        (_infeasible, "no trial is within the target"),
        (lambda folder: (folder / TRIALS).unlink(), "no such file"),
        (lambda folder: (folder / TRIALS).write_text("[1]\n"), "no trial"),
        (_changed(seed="\x1b[31m"), "seed"),
        (_changed(schema=2), "schema 2"),
        (_changed(strategy=[]), "strategies of 0 and 2 layers"),
        (_changed(strategy=[{"layer": "a", "keep": 1, "kept": 9, "of": 8}] * 2), "keeps more than it has"),
        (
            _changed(dense={"test_top1": 1, "flops": 0, "params": 1, "memory_bytes": 1, "latency_ms": 1}),
            "without FLOPs",
        ),
        (
            _changed(dense={"test_top1": 1, "flops": 1, "params": 1, "memory_bytes": 1, "latency_ms": 0}),
            "takes no time",
        ),
    ],
)
def test_a_damaged_run_is_named_and_the_others_are_compared(
    damage: Callable[[Path], None], said: str, add_run: AddRun, tmp_path: Path
) -> None:
    add_run("random", 0, METRICS, 0.9)
    damage(add_run("amc", 0, METRICS, 0.9))
    study = read_study(tmp_path)
    assert [policy.name for policy in study.problems[0].policies] == ["random"]
    (left,) = study.left_out
    assert left.name == "mobilenet-digits/amc/seed0"
    assert left.reason.startswith("damaged: ")
    assert said in left.reason
    assert str(tmp_path) not in left.reason
    assert left.reason.isprintable()


def test_a_run_that_stands_alone_is_read(sample_trials: list[Trial], tmp_path: Path) -> None:
    RunFolder(tmp_path).record(sample_trials[0])
    assert read_study(tmp_path).left_out == ((".", "unfinished: 1 trials, no result yet"),)


def test_variants_are_told_apart_by_what_differs() -> None:
    assert differing([{"a": 1, "b": 2.0}, {"a": 1, "b": 0.5}]) == ["b=2", "b=0.5"]
    assert differing([{"a": 1}, {"a": 1, "c": None}]) == ["", ""]
    assert differing([{}]) == [""]
