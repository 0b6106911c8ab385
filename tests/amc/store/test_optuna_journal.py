"""The journal is read back by Optuna's own file backend."""

import math
import re
import warnings
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from amc.errors import ConfigError, RefusedInput
from amc.store.optuna_journal import as_optuna_trial, export_studies, journal, read_run, together
from amc.store.results import Result, RunFolder
from baselines.optuna_search import quiet_optuna
from envs.search import Trial


@pytest.fixture
def folders(sample_trials: list[Trial], sample_result: Result, tmp_path: Path) -> list[Path]:
    """Two finished runs; the second has one trial, whose loss is unknown."""
    unknown = replace(sample_trials[0], evaluation=sample_trials[0].evaluation._replace(loss=math.nan))
    runs = {"amc": sample_trials, "optuna": [unknown]}
    for policy, trials in runs.items():
        run = RunFolder(tmp_path / policy)
        for trial in trials:
            run.record(trial)
        run.write_result(replace(sample_result, policy=policy))
    return [tmp_path / policy for policy in runs]


def opened(path: Path) -> list[optuna.Study]:
    storage = JournalStorage(JournalFileBackend(str(path)))
    return [optuna.load_study(study_name=name, storage=storage) for name in optuna.get_all_study_names(storage=storage)]


def test_optuna_reads_every_run_as_a_study(folders: list[Path], tmp_path: Path, sample_trials: list[Trial]) -> None:
    studies = opened(export_studies(tmp_path / "journal.log", folders))
    assert [study.study_name for study in studies[:2]] == list(map(str, folders))
    assert [study.user_attrs["policy"] for study in studies[:2]] == ["amc", "optuna"]
    first = studies[0]
    assert len(first.trials) == len(sample_trials)
    for frozen, trial in zip(first.trials, sample_trials, strict=True):
        assert tuple(frozen.params.values()) == trial.strategy
        assert list(frozen.params) == ["features.0", "classifier"]
        assert frozen.user_attrs["flops"] == trial.cost.flops
        assert frozen.user_attrs["metric"] == trial.evaluation.metric
        assert frozen.user_attrs["reward"] == trial.reward


def test_the_runs_of_a_problem_are_one_study_besides(folders: list[Path], tmp_path: Path) -> None:
    *runs, whole = opened(export_studies(tmp_path / "journal.log", folders))
    assert whole.study_name == f"{tmp_path}: mobilenet on digits at 0.5 of flops, channel by l1"
    assert len(whole.trials) == sum(len(run.trials) for run in runs)
    assert [trial.user_attrs["policy"] for trial in whole.trials] == [
        run.user_attrs["policy"] for run in runs for _ in run.trials
    ]


def test_problems_that_differ_in_any_way_are_studies_of_their_own(folders: list[Path], tmp_path: Path) -> None:
    runs = [read_run(folder) for folder in folders]
    other = [run._replace(attributes=run.attributes | {"criterion": "l2"}) for run in runs]
    deeper = [run._replace(layers=[*run.layers, "one_more"]) for run in runs]
    studies = together([*runs, *other, *deeper])
    first = f"{tmp_path}: mobilenet on digits at 0.5 of flops, channel by "
    assert [study.name for study in studies] == [f"{first}l1", f"{first}l2", f"{first}l1 (2)"]
    path = tmp_path / "journal.log"
    path.write_text(journal(studies[:2]))
    assert len(opened(path)) == 2


def test_the_best_is_the_best_feasible_trial(folders: list[Path], tmp_path: Path, sample_trials: list[Trial]) -> None:
    study = opened(export_studies(tmp_path / "journal.log", folders))[0]
    assert study.best_value == max(trial.reward for trial in sample_trials if trial.feasible)
    assert [trial.state == TrialState.COMPLETE for trial in study.trials] == [t.feasible for t in sample_trials]


def test_what_is_unknown_is_left_out(folders: list[Path], tmp_path: Path) -> None:
    study = opened(export_studies(tmp_path / "journal.log", folders))[1]
    assert "loss" not in study.trials[0].user_attrs
    assert "latency" not in study.trials[0].user_attrs
    assert "NaN" not in (tmp_path / "journal.log").read_text()


def test_optuna_can_go_on_from_the_journal(folders: list[Path], tmp_path: Path) -> None:
    study = opened(export_studies(tmp_path / "journal.log", folders))[0]
    before = len(study.trials)
    study.add_trial(study.trials[0])
    assert len(opened(tmp_path / "journal.log")[0].trials) == before + 1


def test_the_file_is_what_optunas_own_backend_writes(folders: list[Path], tmp_path: Path) -> None:
    run = read_run(folders[0])
    storage = JournalStorage(JournalFileBackend(str(tmp_path / "optuna.log")))
    with quiet_optuna():
        study = optuna.create_study(storage=storage, study_name=run.name, direction="maximize")
        study.set_metric_names(["reward"])
    for name, value in run.attributes.items():
        study.set_user_attr(name, value)
    study.add_trials([as_optuna_trial(trial, run.layers) for trial in run.trials])
    own, ours = (tmp_path / "optuna.log").read_text(), journal([run])
    when = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+")
    assert when.sub("then", without_worker(ours)) == when.sub("then", without_worker(own))


def without_worker(log: str) -> str:
    """Every storage writes under a name of its own."""
    return re.sub(r'"worker_id":"[^"]*"', "", log)


def test_writing_again_replaces_the_file_and_leaves_nothing_else(folders: list[Path], tmp_path: Path) -> None:
    for chosen in (folders, folders[:1]):
        export_studies(tmp_path / "out" / "journal.log", chosen)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["journal.log"]
    assert len(opened(tmp_path / "out" / "journal.log")) == 1


def test_the_users_logging_and_warnings_are_left_as_they_were(folders: list[Path], tmp_path: Path) -> None:
    before = optuna.logging.get_verbosity(), list(warnings.filters)
    export_studies(tmp_path / "journal.log", folders)
    assert (optuna.logging.get_verbosity(), list(warnings.filters)) == before


def test_bad_folders_are_refused_and_nothing_is_written(folders: list[Path], tmp_path: Path) -> None:
    (folders[1] / "result.json").unlink()
    with pytest.raises(RefusedInput, match="no such file"):
        export_studies(tmp_path / "journal.log", folders)
    with pytest.raises(ConfigError, match="no run folder"):
        export_studies(tmp_path / "journal.log", [])
    with pytest.raises(ConfigError, match="twice"):
        export_studies(tmp_path / "journal.log", [folders[0], folders[0]])
    assert not (tmp_path / "journal.log").exists()
