from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from amc.comparison.study import Problem, read_study
from amc.results import FineTuned, Result, RunFolder
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


@pytest.fixture
def add_run(tmp_path: Path, sample_result: Result) -> Callable[..., Path]:
    """Write a finished run as ``amc.search`` leaves it, and return its folder."""

    def add(policy: str, seed: int, metrics: Sequence[float], test: float, **changes: Any) -> Path:  # noqa: ANN401
        own = changes.pop("own", {})
        best = max(metrics)
        result = replace(
            sample_result,
            policy=policy,
            seed=seed,
            trials=len(metrics),
            pruned=replace(sample_result.pruned, search_top1=best + 0.02, test_top1=test),
            finetuned=(FineTuned(0, best, best + 0.02), FineTuned(1, best - 0.01, best + 0.01)),
            settings=SETTINGS | own,
        )
        result = replace(result, **changes)
        folder = tmp_path / f"{result.model}-{result.data}" / policy / f"seed{seed}"
        while folder.exists():
            folder = folder.with_name(f"{folder.name}-again")
        run = RunFolder(folder)
        for trial in trials(metrics):
            run.record(trial)
        run.write_result(result)
        return folder

    return add


@pytest.fixture
def problem(add_run: Callable[..., Path], tmp_path: Path) -> Problem:
    """Three seeds of two policies; random is ahead on every seed, by 1, 2 and 3 points on test."""
    for seed in range(3):
        add_run("amc", seed, [0.5, 0.6, 0.7, 0.8 + seed / 100, 0.75], 0.9)
        add_run("random", seed, [0.7, 0.9, 0.6, 0.5, 0.4], 0.91 + seed / 100)
    (only,) = read_study(tmp_path).problems
    return only
