import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from amc.errors import RefusedInput, StorageError
from amc.store.durable_files import write_file
from amc.store.results import Result, RunFolder, read_result, read_stage, read_trials
from amc.store.run_folders import RESULT, TIMINGS, TRIALS, find_runs, holds_run, is_finished
from envs.search import Trial


def test_trials_come_back_as_they_were(sample_trials: list[Trial], tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "new" / "folder")
    for trial in sample_trials:
        run.record(trial)
    assert read_trials(run.folder) == sample_trials


def test_an_unknown_loss_is_valid_json(sample_trials: list[Trial], tmp_path: Path) -> None:
    unknown = replace(sample_trials[0], evaluation=sample_trials[0].evaluation._replace(loss=math.nan))
    RunFolder(tmp_path).record(unknown)
    assert json.loads((tmp_path / TRIALS).read_text(), parse_constant=pytest.fail)["evaluation"]["loss"] is None
    assert math.isnan(read_trials(tmp_path)[0].evaluation.loss)


def test_seconds_do_not_touch_the_trials_file(sample_trials: list[Trial], tmp_path: Path) -> None:
    fast, slow = RunFolder(tmp_path / "fast"), RunFolder(tmp_path / "slow")
    fast.record(sample_trials[0])
    slow.record(replace(sample_trials[0], seconds=99.0, engine_seconds=98.0))
    assert (fast.folder / TRIALS).read_bytes() == (slow.folder / TRIALS).read_bytes()


@pytest.mark.parametrize("torn", [TRIALS, TIMINGS])
def test_a_line_torn_by_a_kill_is_left_out(torn: str, sample_trials: list[Trial], tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    for trial in sample_trials[:3]:
        run.record(trial)
    (tmp_path / torn).write_bytes((tmp_path / torn).read_bytes()[:-10])
    read = read_trials(tmp_path)
    assert read[:2] == sample_trials[:2]
    assert len(read) == (2 if torn == TRIALS else 3)


def test_the_result_comes_back_as_it_was(sample_result: Result, tmp_path: Path) -> None:
    RunFolder(tmp_path).write_result(sample_result)
    assert read_result(tmp_path) == sample_result


def test_the_stages_of_a_result_come_back_and_other_results_have_none(
    sample_result: Result, staged_result: Result, tmp_path: Path
) -> None:
    path = RunFolder(tmp_path).write_result(staged_result)
    assert read_result(tmp_path) == staged_result
    path.write_text(path.read_text().replace('"flops": 70000000.0', '"flops": "many"'))
    with pytest.raises(RefusedInput, match="flops"):
        read_result(tmp_path)
    assert "stages" not in json.loads(RunFolder(tmp_path).write_result(sample_result).read_text())


def test_a_stage_is_no_run_and_goes_with_its_run(
    staged_result: Result, sample_trials: list[Trial], tmp_path: Path
) -> None:
    run, stage = tmp_path / "net-data/amc/seed0", tmp_path / "net-data/amc/seed0/stage1"
    started = RunFolder(stage)
    started.record(sample_trials[0])
    assert find_runs(tmp_path) == [run]
    assert holds_run(run)
    started.write_stage(staged_result.stages[0])
    assert read_stage(stage) == staged_result.stages[0]
    RunFolder(run, keep=True)
    assert read_trials(stage) == sample_trials[:1]
    RunFolder(run)
    assert not stage.exists()
    assert not holds_run(run)


def test_a_damaged_stage_is_refused(staged_result: Result, tmp_path: Path) -> None:
    RunFolder(tmp_path).write_stage(staged_result.stages[0]).write_text("{}")
    with pytest.raises(RefusedInput, match=r"stage\.json"):
        read_stage(tmp_path)


def test_a_new_run_removes_what_an_earlier_one_left(
    sample_trials: list[Trial], sample_result: Result, tmp_path: Path
) -> None:
    earlier = RunFolder(tmp_path)
    earlier.record(sample_trials[0])
    earlier.write_result(sample_result)
    RunFolder(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_settings_come_back_and_a_result_without_them_is_read(sample_result: Result, tmp_path: Path) -> None:
    asked = replace(sample_result, settings={"constraint": "bound", "episodes": 40, "round_to": None, "target": 0.5})
    path = RunFolder(tmp_path).write_result(asked)
    assert read_result(tmp_path) == asked
    older = json.loads(path.read_text())
    del older["settings"], older["sha256"]
    path.write_text(json.dumps(older))
    assert read_result(tmp_path) == sample_result


@pytest.mark.parametrize(
    ("where", "value"),
    [
        ("seed", "seven"),
        ("target", None),
        ("model", 3),
        ("versions", {"torch": 2}),
        ("images", []),
        ("settings", {"a": []}),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused(where: str, value: object, sample_result: Result, tmp_path: Path) -> None:
    path = RunFolder(tmp_path).write_result(sample_result)
    path.write_text(json.dumps(json.loads(path.read_text()) | {where: value}))
    with pytest.raises(RefusedInput, match=where):
        read_result(tmp_path)


@pytest.mark.parametrize("wrong", ["NaN", "Infinity", '"high"', "null", "[]"])
def test_a_score_that_is_no_number_is_refused(wrong: str, sample_result: Result, tmp_path: Path) -> None:
    path = RunFolder(tmp_path).write_result(sample_result)
    path.write_text(path.read_text().replace('"test_top1": 0.97,', f'"test_top1": {wrong},'))
    with pytest.raises(RefusedInput, match="test_top1"):
        read_result(tmp_path)


@pytest.mark.parametrize(
    ("right", "wrong"), [('"metric": 0.1', '"metric": NaN'), ("true", "1"), ("49000000.0", '"few"')]
)
def test_a_trial_whose_values_are_no_numbers_is_refused(
    right: str, wrong: str, sample_trials: list[Trial], tmp_path: Path
) -> None:
    RunFolder(tmp_path).record(replace(sample_trials[0], evaluation=sample_trials[0].evaluation._replace(metric=0.1)))
    lines = (tmp_path / TRIALS).read_text()
    assert right in lines
    (tmp_path / TRIALS).write_text(lines.replace(right, wrong))
    with pytest.raises(RefusedInput, match="no trial"):
        read_trials(tmp_path)


def test_runs_are_found_finished_or_not_and_in_order(
    sample_trials: list[Trial], sample_result: Result, tmp_path: Path
) -> None:
    names = ["net-data/amc/seed2", "net-data/amc/seed10", "net-data/random/seed0"]
    for name in reversed(names):
        RunFolder(tmp_path / name).record(sample_trials[0])
    RunFolder(tmp_path / names[0]).write_result(sample_result)
    (tmp_path / "net-data" / "empty").mkdir()
    (tmp_path / "net-data" / "link").symlink_to(tmp_path, target_is_directory=True)
    found = find_runs(tmp_path)
    assert [str(run.relative_to(tmp_path)) for run in found] == names
    assert [is_finished(run) for run in found] == [True, False, False]


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"schema": 2}', '{"schema": 1}', "\x00", "[" * 100_000])
def test_a_file_that_is_no_result_is_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / RESULT).write_text(content)
    with pytest.raises(RefusedInput, match=RESULT):
        read_result(tmp_path)


def test_a_missing_result_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RefusedInput, match="no such file"):
        read_result(tmp_path)


@pytest.mark.parametrize("line", ["{}", '{"index": 0}', "no json", "[1]", "[" * 100_000])
def test_a_line_that_is_no_trial_is_refused(line: str, tmp_path: Path) -> None:
    (tmp_path / TRIALS).write_text(line + "\n")
    (tmp_path / TIMINGS).write_text("")
    with pytest.raises(RefusedInput, match=TRIALS):
        read_trials(tmp_path)


def test_a_failed_write_keeps_the_old_file_and_leaves_nothing_behind(tmp_path: Path) -> None:
    write_file(tmp_path / "file", "old")
    with pytest.raises(StorageError):
        write_file(tmp_path / "file" / "below", "new")
    with pytest.raises(UnicodeEncodeError):
        write_file(tmp_path / "file", "\ud800")
    assert (tmp_path / "file").read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file"]


def test_a_folder_that_cannot_be_made_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="cannot be made or written"):
        RunFolder(tmp_path / "file" / "run")


def test_a_file_that_is_removed_or_replaced_while_it_grows_is_put_back(
    sample_trials: list[Trial], tmp_path: Path
) -> None:
    run = RunFolder(tmp_path)
    run.record(sample_trials[0])
    (tmp_path / TRIALS).unlink()
    run.record(sample_trials[1])
    (tmp_path / TIMINGS).rename(tmp_path / "elsewhere")
    (tmp_path / TIMINGS).write_text("something else\n")
    run.record(sample_trials[2])
    assert read_trials(tmp_path) == sample_trials[:3]


def test_a_file_that_somebody_else_writes_to_is_an_error(sample_trials: list[Trial], tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.record(sample_trials[0])
    with (tmp_path / TRIALS).open("a") as file:
        file.write("{}\n")
    with pytest.raises(StorageError, match="somebody else"):
        run.record(sample_trials[1])


def test_trials_behind_a_damaged_one_are_recovered(sample_trials: list[Trial], tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    for trial in sample_trials[:3]:
        run.record(trial)
    lines = (tmp_path / TRIALS).read_text().splitlines(keepends=True)
    damaged = lines[1].replace('"feasible": true', '"feasible": false')
    (tmp_path / TRIALS).write_text(lines[0] + damaged + lines[2])
    with pytest.raises(RefusedInput, match=r"line 2 .*not what was written"):
        read_trials(tmp_path)
    kept = RunFolder(tmp_path, keep=True)
    assert kept.recorded == {0: sample_trials[0], 2: sample_trials[2]}
    assert read_trials(tmp_path) == sample_trials[:1]


def test_what_the_dead_left_half_written_is_removed(tmp_path: Path) -> None:
    (tmp_path / ".result.json.4711.part").write_text("{")
    RunFolder(tmp_path, keep=True)
    assert list(tmp_path.iterdir()) == []


def test_a_trial_of_a_version_that_knew_no_divergence_is_read(sample_trials: list[Trial], tmp_path: Path) -> None:
    measured = replace(sample_trials[0], evaluation=sample_trials[0].evaluation._replace(divergence=0.25))
    RunFolder(tmp_path).record(measured)
    assert read_trials(tmp_path) == [measured]
    row = json.loads((tmp_path / TRIALS).read_text())
    assert row["evaluation"].pop("divergence") == 0.25
    # Versions before that wrote no digests either.
    row = {key: value for key, value in row.items() if key != "sha256"}
    (tmp_path / TRIALS).write_text(json.dumps(row) + "\n")
    assert math.isnan(read_trials(tmp_path)[0].evaluation.divergence)
