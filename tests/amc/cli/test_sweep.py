"""How the jobs of a sweep share the machine, and what is kept of each."""

import os
import pickle
from collections.abc import Iterator
from pathlib import Path

import pytest
import rich
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf, open_dict, read_write

from amc.cli import sweep
from amc.cli.command import JobFailed, share_machine
from amc.cli.sweep import SweepLog, fair_threads, job_label, jobs_side_by_side, sweep_log
from amc.config.composing import register_schemas
from amc.config.conf_folder import CONF
from amc.config.schema import TrainConfig


@pytest.fixture
def job(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The running job of a sweep on 8 cores; the parameter is its number and the launcher's ``n_jobs``, if any."""
    number, n_jobs = request.param
    register_schemas()
    monkeypatch.setattr(sweep, "cores", lambda: 8)
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("search", ["hydra.mode=MULTIRUN", "hydra.runtime.output_dir=."], return_hydra_config=True)
    with open_dict(cfg):
        cfg.hydra.job.update({"num": number, "override_dirname": f"seed={number}"})
        if n_jobs is not None:
            cfg.hydra.launcher = OmegaConf.create({"n_jobs": n_jobs})
    before = HydraConfig.instance().cfg
    HydraConfig.instance().set_config(cfg)
    yield
    HydraConfig.instance().cfg = before


@pytest.mark.parametrize(
    ("job", "jobs", "threads"),
    [
        ((0, None), 1, 8),
        ((0, 1), 1, 8),
        ((0, 2), 2, 4),
        ((0, 3), 3, 2),
        ((0, 20), 20, 1),
        ((0, -1), 8, 1),
        ((0, -5), 4, 2),
        ((0, -20), 1, 8),
    ],
    indirect=["job"],
)
@pytest.mark.usefixtures("job")
def test_threads_are_divided_between_jobs(jobs: int, threads: int) -> None:
    assert jobs_side_by_side() == jobs
    assert fair_threads() == threads


def test_a_single_run_has_the_machine_for_itself() -> None:
    assert jobs_side_by_side() == 1
    assert job_label() == ""


@pytest.mark.parametrize(("asked", "given"), [(None, 4), (3, 3)])
@pytest.mark.parametrize("job", [(0, 2)], indirect=True)
@pytest.mark.usefixtures("job")
def test_a_job_takes_its_share_unless_told_how_much(
    asked: int | None, given: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "setpgrp", lambda: None)
    monkeypatch.setattr(rich, "reconfigure", lambda **_: None)
    cfg = TrainConfig(threads=asked)
    assert share_machine(cfg).threads == given


@pytest.mark.parametrize("job", [(3, 2)], indirect=True)
@pytest.mark.usefixtures("job")
def test_failures_are_listed_in_the_order_of_the_jobs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = pickle.loads(pickle.dumps(SweepLog(tmp_path)))  # noqa: S301  as a launcher sends it
    for number, failure in ((11, "eleventh"), (3, None), (2, "second")):
        with read_write(HydraConfig.get()):
            HydraConfig.get().job.num = number
        log.note(failure)
    log.report("amc.search")
    assert capsys.readouterr().err == "amc.search: 2 of 3 jobs failed:\n  second\n  eleventh\n"


@pytest.mark.parametrize("job", [(0, 2)], indirect=True)
@pytest.mark.usefixtures("job")
def test_nothing_is_said_when_nothing_failed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    SweepLog(tmp_path).note(None)
    SweepLog(tmp_path).report("amc.search")
    assert capsys.readouterr().err == ""


def test_a_single_run_notes_nothing(tmp_path: Path) -> None:
    SweepLog(tmp_path).note("failed")
    assert list(tmp_path.iterdir()) == []


def test_a_failure_comes_back_from_another_process() -> None:
    error = pickle.loads(pickle.dumps(JobFailed(4)))  # noqa: S301  as a launcher sends it
    assert (type(error), error.exit_code) == (JobFailed, 4)


@pytest.mark.parametrize("job", [(0, None)], indirect=True)
@pytest.mark.usefixtures("job")
def test_what_is_kept_of_a_sweep_is_there_only_meanwhile(tmp_path: Path) -> None:
    with sweep_log(tmp_path) as log:
        assert log.folder.parent == tmp_path
        assert not log.folder.exists()
        log.note("failed")
        assert log.folder.stat().st_mode & 0o777 == 0o700
    assert not log.folder.exists()


@pytest.mark.parametrize("job", [(0, 2)], indirect=True)
@pytest.mark.parametrize(("backend", "starter"), [(None, -1), ("loky", -1), ("multiprocessing", -1), ("dask", None)])
@pytest.mark.usefixtures("job")
def test_a_job_knows_who_started_its_process(backend: str | None, starter: int | None, tmp_path: Path) -> None:
    assert SweepLog(tmp_path).starter() is None
    with read_write(HydraConfig.get()), open_dict(HydraConfig.get()):
        HydraConfig.get().launcher.backend = backend
    assert SweepLog(tmp_path, process=-1).starter() == starter
