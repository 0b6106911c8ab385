"""Looking at a study that fills up: what its files say, and what is shown of it."""

import io
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from omegaconf import OmegaConf
from rich.console import Console

from amc.compare import main as compare
from amc.errors import ConfigError
from amc.store.lock import alone
from amc.store.results import Result, RunFolder
from amc.watching.failures import note_outcome
from amc.watching.loop import watch
from amc.watching.states import MOST_CHOICES, Watcher, jobs_of
from envs.engine.types import Cost, Evaluation
from envs.search import Trial

EPISODES = 5


def begin(study: Path, seed: int, metrics: tuple[float, ...] = (0.5, 0.9, 0.7)) -> RunFolder:
    run = RunFolder(study / f"net-digits/random/seed{seed}")
    run.ask({"episodes": EPISODES})
    for index, metric in enumerate(metrics):
        run.record(Trial(index, (0.5,), metric, Evaluation(metric, 1.0, 10), Cost(1.0, 1.0), metric < 0.9, 1.0, 1.0))
    return run


def fail(study: Path, seed: int, said: str = "data=nowhere: no such folder") -> None:
    run = study / f"net-digits/random/seed{seed}"
    note_outcome(study, run, said, f"{run}/search.log")


def sweep_of(study: Path, *overrides: str) -> None:
    study.mkdir(exist_ok=True)
    OmegaConf.save({"hydra": {"overrides": {"task": list(overrides)}}}, study / "multirun.yaml")


def plain() -> Console:
    return Console(file=io.StringIO(), width=200)


def said(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.fixture
def study(tmp_path: Path, sample_result: Result) -> Path:
    begin(tmp_path, 0).write_result(sample_result)
    begin(tmp_path, 1)
    begin(tmp_path, 2)
    fail(tmp_path, 2)
    fail(tmp_path, 3)
    begin(tmp_path, 4)
    sweep_of(tmp_path, "policy=random", "seed=0,1,2,3,4,5", "data.search=range(1,3)")
    return tmp_path


def test_a_run_is_what_its_folder_and_its_lock_say(study: Path) -> None:
    with alone(study / "net-digits/random/seed4/.lock", "search"):
        sight = Watcher(study).look()
    assert [(run.name[-5:], run.state) for run in sight.runs] == [
        ("seed0", "finished"),
        ("seed1", "stopped"),
        ("seed2", "failed"),
        ("seed3", "failed"),
        ("seed4", "running"),
    ]
    assert [run.progress.trials for run in sight.runs] == [3, 3, 3, 0, 3]
    assert [run.episodes for run in sight.runs] == [EPISODES, EPISODES, EPISODES, None, EPISODES]
    assert sight.runs[1].progress.best == 0.7  # the better one is beyond the target
    assert (sight.expected, sight.is_complete) == (12, False)


def test_what_grows_is_seen_and_what_does_not_is_read_once(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from amc.watching import states

    read, reader = list[Path](), states._read

    def counted(path: Path) -> states.Progress:
        read.append(path)
        return reader(path)

    monkeypatch.setattr(states, "_read", counted)
    watcher = Watcher(study)
    watcher.look()
    assert len(read) == 4
    begin(study, 1, (0.1, 0.2, 0.3, 0.4))
    sight = watcher.look()
    assert len(read) == 5
    assert sight.runs[1].progress == (4, 0.4)


def test_a_failure_is_forgotten_when_the_job_ends_well(study: Path) -> None:
    note_outcome(study, study / "net-digits/random/seed2", None)
    assert [run.state for run in Watcher(study).look().runs][2] == "stopped"


@pytest.mark.parametrize("content", ["hydra: [1, 2", "1", "hydra: {overrides: {task: ['a=(((']}}"])
def test_a_file_of_someone_else_is_no_sweep(content: str, tmp_path: Path) -> None:
    (tmp_path / "multirun.yaml").write_text(content)
    assert jobs_of(tmp_path / "multirun.yaml") == 0


def test_a_sweep_of_someone_else_takes_no_time(tmp_path: Path) -> None:
    (tmp_path / "multirun.yaml").write_text("hydra: {overrides: {task: ['seed=range(0,1000000000000)']}}")
    assert jobs_of(tmp_path / "multirun.yaml") == MOST_CHOICES
    os.mkfifo(tmp_path / "pipe.yaml")
    assert jobs_of(tmp_path / "pipe.yaml") == 0


@pytest.fixture
def meanwhile(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
    """Let something happen while it waits for the first time, and Ctrl-C at the second."""

    def set_up(happens: Callable[[], object]) -> None:
        todo = [happens]

        def sleep(_: float) -> None:
            if not todo:
                raise KeyboardInterrupt
            todo.pop()()

        monkeypatch.setattr(time, "sleep", sleep)

    return set_up


def test_lines_say_what_happens_until_the_study_is_complete(
    tmp_path: Path, sample_result: Result, meanwhile: Callable[[Callable[[], object]], None]
) -> None:
    sweep_of(tmp_path, "seed=0,3")
    run = begin(tmp_path, 0)

    def ends() -> None:
        run.write_result(sample_result)
        fail(tmp_path, 3, "the disk is full\n\x1b[2J")

    meanwhile(ends)
    console = plain()
    assert watch(tmp_path, console)
    lines = said(console).splitlines()
    assert lines[:2] == [
        "net-digits/random/seed0: stopped, trials 3/5, best 0.7000",
        "2 runs: 1 stopped, 1 to come",
    ]
    assert lines[2] == "net-digits/random/seed0: finished, trials 3/5, best 0.7000"
    assert "2 runs: 1 finished, 1 failed" in lines
    log = tmp_path / "net-digits/random/seed3/search.log"
    assert lines[-1] == f"failed: net-digits/random/seed3: the disk is full ?[2J; its log: {log}"


def test_ctrl_c_ends_it_and_lists_what_failed(
    study: Path, meanwhile: Callable[[Callable[[], object]], None], capsys: pytest.CaptureFixture[str]
) -> None:
    meanwhile(lambda: None)
    console = plain()
    assert not watch(study, console)
    assert said(console).splitlines()[-3] == "12 runs: 1 finished, 2 stopped, 2 failed, 7 to come"
    meanwhile(lambda: None)
    compare([str(study), "--watch"])
    assert "seed2: data=nowhere: no such folder" in capsys.readouterr().out
    assert not (study / "compare.html").exists()


def test_on_a_terminal_a_table_changes_in_place(study: Path, meanwhile: Callable[[Callable[[], object]], None]) -> None:
    meanwhile(lambda: begin(study, 1, (0.1, 0.2, 0.3, 0.4)))
    console = Console(file=io.StringIO(), width=100, height=10, force_terminal=True, color_system=None)
    assert not watch(study, console)
    shown = said(console)
    assert "and 1 more" in shown
    assert shown.index("3/5") < shown.index("4/5")
    assert "seed0 " not in shown  # finished runs are the first to make room


def test_nothing_to_look_at_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such folder"):
        compare([str(tmp_path / "nothing"), "--watch"])
