import json

import pytest

from amc.run.track import Tracked, Untracked, summary
from amc.store.results import Result
from amc.tracking.process import TrackerProcess
from amc.tracking.tracker import TrackedRun
from envs.engine.types import Cost
from envs.search import Trial

DENSE = Cost(flops=100e6, params=4e6)
RECORDER = {"_target_": "fake_trackers.Recorder"}


def test_a_tracker_is_told_of_trials_and_the_result(
    sample_trials: list[Trial], sample_result: Result, tracked_run: TrackedRun
) -> None:
    for name in ("channels.png", "reward.png"):
        (tracked_run.folder / name).touch()
    process = TrackerProcess(RECORDER, tracked_run, patience=120)
    with Tracked(process, tracked_run.folder, DENSE, "flops") as tracking:
        for trial in sample_trials:
            tracking(trial)
        tracking.finish(sample_result)
    _, *told, finish = map(json.loads, (tracked_run.folder / "told.jsonl").read_text().splitlines())
    assert [index for _, index, _ in told] == [trial.index for trial in sample_trials]
    figures = [values for *_, values in told]
    assert [values["reward"] for values in figures] == [trial.reward for trial in sample_trials]
    assert [values["resource_kept"] for values in figures] == [trial.cost.flops / 100e6 for trial in sample_trials]
    assert figures[0]["policy_seconds"] + figures[0]["engine_seconds"] == pytest.approx(figures[0]["seconds"])
    # The last trial is over the target.
    best = [-0.9, -0.3, -0.3, -0.1, -0.1, -0.05, -0.05, -0.04, -0.04]
    assert [values["best_reward"] for values in figures] == best
    told_summary, strategy, model, pictures = finish[1]
    assert told_summary == summary(sample_result)
    assert strategy == [list(layer) for layer in sample_result.strategy]
    assert model == str(tracked_run.folder / "pruned.safetensors")
    assert pictures == [str(tracked_run.folder / name) for name in ("channels.png", "reward.png")]


def test_there_is_no_best_reward_before_a_trial_is_within_the_target(
    sample_trials: list[Trial], sample_result: Result, tracked_run: TrackedRun
) -> None:
    process = TrackerProcess(RECORDER, tracked_run, patience=120)
    with Tracked(process, tracked_run.folder, DENSE, "params") as tracking:
        tracking(sample_trials[-1])
        tracking.finish(sample_result)
    _, (_, _, figures), _ = map(json.loads, (tracked_run.folder / "told.jsonl").read_text().splitlines())
    assert "best_reward" not in figures
    assert figures["resource_kept"] == 0.5


def test_what_is_not_known_of_the_dense_network_is_left_out(
    sample_trials: list[Trial], sample_result: Result, tracked_run: TrackedRun
) -> None:
    process = TrackerProcess(RECORDER, tracked_run, patience=120)
    with Tracked(process, tracked_run.folder, DENSE, "memory_peak") as tracking:
        tracking(sample_trials[0])
        tracking.finish(sample_result)
    _, (_, _, figures), _ = map(json.loads, (tracked_run.folder / "told.jsonl").read_text().splitlines())
    assert "resource_kept" not in figures
    assert figures["reward"] == sample_trials[0].reward


def test_stages_are_numbered_through_and_each_has_a_best_of_its_own(
    sample_trials: list[Trial], sample_result: Result, tracked_run: TrackedRun
) -> None:
    process = TrackerProcess(RECORDER, tracked_run, patience=120)
    with Tracked(process, tracked_run.folder, DENSE, "flops") as tracking:
        for stage, trials in ((1, sample_trials[:4]), (2, sample_trials[:3])):
            tracking.begin_stage(stage)
            for trial in trials:
                tracking(trial)
        tracking.finish(sample_result)
    _, *rows, _ = map(json.loads, (tracked_run.folder / "told.jsonl").read_text().splitlines())
    assert [index for _, index, _ in rows] == list(range(7))
    assert [figures["stage"] for *_, figures in rows] == [1] * 4 + [2] * 3
    assert [figures["best_reward"] for *_, figures in rows] == [-0.9, -0.3, -0.3, -0.1, -0.9, -0.3, -0.3]


def test_a_summary_names_every_network(sample_result: Result) -> None:
    figures = summary(sample_result)
    assert figures["dense/test_top1"] == sample_result.dense.test_top1
    assert figures["uniform/flops"] == sample_result.uniform.flops
    assert figures["pruned/latency_ms"] == sample_result.pruned.latency_ms
    assert figures["search_seconds"] == sample_result.search_seconds


def test_an_untracked_run_goes_the_same_way(sample_trials: list[Trial], sample_result: Result) -> None:
    with Untracked() as tracking:
        tracking(sample_trials[0])
        tracking.finish(sample_result)
