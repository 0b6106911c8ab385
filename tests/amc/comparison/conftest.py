from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from amc.comparison.study import Problem, read_study
from amc.store.results import FineTuned, Result, RunFolder
from envs.engine.types import Cost, Evaluation
from envs.search import Trial

SETTINGS = {
    "constraint": "rescale",
    "episodes": 5,
    "finetune.epochs": 1,
    "finetune.top_k": 2,
    "policy._target_": "somewhere.Policy",
}


def trials(metrics: Sequence[float], seconds: float = 2.0) -> list[Trial]:
    """One trial a metric, each a little dearer than the one before; a negative metric is over the target."""
    return [
        Trial(
            index,
            (0.5, 0.25),
            abs(metric) - 1,
            Evaluation(abs(metric), 1 - abs(metric), 300),
            Cost(flops=(40 + index) * 1e6, params=2e6, memory=8e6),
            metric > 0,
            seconds,
            seconds / 2,
        )
        for index, metric in enumerate(metrics)
    ]


def write_run(
    study: Path,
    sample: Result,
    policy: str,
    seed: int,
    metrics: Sequence[float],
    test: float,
    **changes: Any,  # noqa: ANN401
) -> Path:
    """Write a finished run as ``amc.search`` leaves it, and return its folder."""
    own = changes.pop("own", {})
    best = max(metrics)
    result = replace(
        sample,
        policy=policy,
        seed=seed,
        trials=len(metrics),
        pruned=replace(sample.pruned, search_top1=best + 0.02, test_top1=test),
        finetuned=(FineTuned(0, best, best + 0.02), FineTuned(1, best - 0.01, best + 0.01)),
        settings=SETTINGS | own,
    )
    result = replace(result, **changes)
    folder = study / f"{result.model}-{result.data}" / policy / f"seed{seed}"
    while folder.exists():
        folder = folder.with_name(f"{folder.name}-again")
    run = RunFolder(folder)
    for trial in trials(metrics):
        run.record(trial)
    run.write_result(result)
    return folder


@pytest.fixture
def add_run(tmp_path: Path, sample_result: Result) -> Callable[..., Path]:
    """Write a run into the test's folder."""
    return partial(write_run, tmp_path, sample_result)


@pytest.fixture(scope="session")
def problem(tmp_path_factory: pytest.TempPathFactory, sample_result: Result) -> Problem:
    """Three seeds of two policies; random is ahead on every seed, by 1, 2 and 3 points on test."""
    folder = tmp_path_factory.mktemp("study")
    for seed in range(3):
        write_run(folder, sample_result, "amc", seed, [0.5, 0.6, 0.7, 0.8 + seed / 100, 0.75], 0.9)
        write_run(folder, sample_result, "random", seed, [0.7, 0.9, 0.6, 0.5, 0.4], 0.91 + seed / 100)
    (only,) = read_study(folder).problems
    return only
