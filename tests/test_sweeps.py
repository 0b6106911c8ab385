"""Sweeps as a user runs them, one job after the other and side by side."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from preloaded_python import preloaded_python

from amc.watching.states import Watcher

ROOT = Path(__file__).parents[1]
SMOKE = ["experiment=smoke", "policy=random"]
SIDE_BY_SIDE = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
RUNS = "mobilenet-digits/random"


@pytest.fixture
def joblib() -> None:
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher", reason="needs the extra [parallel]")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trained networks, shared so that each is trained once."""
    return tmp_path_factory.mktemp("cache")


def start(
    args: list[str], folder: Path, cache: Path, python: Sequence[str] = (sys.executable,)
) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*python, "-m", "amc.search", "-m", *args, *SMOKE, f"cache_dir={cache}"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "200"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(args: list[str], folder: Path, cache: Path) -> tuple[int, str, str]:
    """Return the exit code, and what was printed on stdout and stderr."""
    folder.mkdir(exist_ok=True)
    # Jobs side by side are processes of their own, and what becomes of those is seen on a real one.
    python = [sys.executable] if set(SIDE_BY_SIDE) <= set(args) else preloaded_python()
    with start(args, folder, cache, python) as process:
        out, err = process.communicate(timeout=900)
    return process.returncode, out, err


def trials(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("trials.jsonl")}


def wait_for_two_jobs(process: subprocess.Popen[str], folder: Path) -> None:
    """Wait until two jobs have recorded a trial, or all has ended: on a busy machine that takes minutes."""
    for _ in range(6000):
        if process.poll() is not None or len([found for found in trials(folder).values() if found]) == 2:
            break
        time.sleep(0.1)


def check_failures(exit_code: int, err: str, folder: Path) -> None:
    """The first failed job is the one with target=2 and episodes=5; the only good one is before it."""
    assert exit_code == 2, err
    assert err.startswith("amc.search: [")
    title, *failures = err.splitlines()[-4:]
    assert title == "amc.search: 3 of 4 jobs failed:"
    assert all(line.startswith("  [") for line in failures)
    assert ["episodes=0" in line.partition("]")[0] for line in failures] == [False, True, True]
    assert ["target=2" in line.partition("]")[0] for line in failures] == [True, False, True]
    assert "Traceback" not in err
    assert len(trials(folder)) == 1
    (seen,) = (sight := Watcher(folder / "outputs").look()).runs
    assert (sight.expected, seen.state, seen.episodes) == (4, "finished", 5)


def test_all_failures_are_listed_at_the_end(tmp_path: Path, cache: Path) -> None:
    exit_code, _, err = run(["episodes=5,0", "target=0.5,2"], tmp_path, cache)
    check_failures(exit_code, err, tmp_path)


@pytest.mark.slow
@pytest.mark.usefixtures("joblib")
def test_all_failures_of_jobs_side_by_side_are_listed_at_the_end(tmp_path: Path, cache: Path) -> None:
    exit_code, _, err = run(["episodes=5,0", "target=0.5,2", *SIDE_BY_SIDE], tmp_path, cache)
    check_failures(exit_code, err, tmp_path)


@pytest.mark.slow
def test_a_sweep_goes_on_with_what_is_not_finished(tmp_path: Path, cache: Path) -> None:
    assert run(["seed=0,1"], tmp_path, cache)[0] == 0
    finished, cut = (tmp_path / "outputs/default" / RUNS / f"seed{seed}" for seed in (0, 1))
    expected = trials(tmp_path)
    (cut / "result.json").unlink()
    lines = (cut / "trials.jsonl").read_bytes().splitlines(keepends=True)
    (cut / "trials.jsonl").write_bytes(b"".join(lines[:2]) + lines[2][:20])
    before = (finished / "result.json").stat().st_mtime_ns
    exit_code, out, err = run(["seed=0,1"], tmp_path, cache)
    assert exit_code == 0, err
    assert out.count("finished before") == 1
    assert out.count("going on behind 2 trials") == 1
    assert (finished / "result.json").stat().st_mtime_ns == before
    assert json.loads((cut / "result.json").read_text())["trials"] == 5
    assert trials(tmp_path) == expected


@pytest.mark.slow
@pytest.mark.usefixtures("joblib")
def test_jobs_side_by_side_find_what_they_find_one_after_the_other(tmp_path: Path) -> None:
    exit_code, out, err = run(["seed=0,1", *SIDE_BY_SIDE], tmp_path / "parallel", tmp_path / "cache")
    assert exit_code == 0, err
    assert out.count("not trained yet") == 1
    assert run(["seed=0,1"], tmp_path / "sequential", tmp_path / "other_cache")[0] == 0
    assert trials(tmp_path / "parallel") == trials(tmp_path / "sequential")
    assert len(trials(tmp_path / "parallel")) == 2


@pytest.mark.slow
@pytest.mark.usefixtures("joblib")
def test_jobs_side_by_side_do_not_share_a_folder(tmp_path: Path, cache: Path) -> None:
    exit_code, _, err = run(["target=0.5,0.6", *SIDE_BY_SIDE], tmp_path, cache)
    assert exit_code == 2
    assert "amc.search: 1 of 2 jobs failed:" in err
    assert "overwrite=true" in err
    ((_, found),) = trials(tmp_path).items()
    assert [json.loads(line)["index"] for line in found.splitlines()] == [0, 1, 2, 3, 4]


@pytest.mark.slow
@pytest.mark.usefixtures("joblib")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_all_jobs_side_by_side(number: signal.Signals, tmp_path: Path, cache: Path) -> None:
    with start(["seed=0,1,2", "episodes=1000000", *SIDE_BY_SIDE], tmp_path, cache) as process:
        wait_for_two_jobs(process, tmp_path)
        process.send_signal(number)
        # It returns when the last process that may write there has ended.
        _, err = process.communicate(timeout=300)
    assert process.returncode == 130, err
    assert err.count("amc.search: interrupted") == 1
    assert "Traceback" not in err
    assert len(trials(tmp_path)) == 2


def children(parent: int) -> list[int]:
    """The processes that a process started, from the process table."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            if int(path.read_text().rpartition(")")[2].split()[1]) == parent:
                found.append(int(path.parent.name))
    return found


def jobs_of(sweep: int) -> list[tuple[int, int]]:
    """The processes of the jobs of a sweep, each with the launcher's process that waits for it."""
    return [(job, worker) for worker in children(sweep) for job in children(worker)]


@contextmanager
def two_jobs(episodes: int, folder: Path, cache: Path) -> Iterator[subprocess.Popen[str]]:
    """A sweep side by side, once both of its jobs have recorded a trial."""
    with start(["seed=0,1", f"episodes={episodes}", *SIDE_BY_SIDE], folder, cache) as process:
        wait_for_two_jobs(process, folder)
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs a process table")
@pytest.mark.usefixtures("joblib")
def test_no_job_outlives_a_sweep_that_is_killed(tmp_path: Path, cache: Path) -> None:
    with two_jobs(1_000_000, tmp_path, cache) as process:
        assert len(jobs_of(process.pid)) == 2
        process.kill()
        # It returns when the last process that may write there has ended.
        process.communicate(timeout=300)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs a process table")
@pytest.mark.usefixtures("joblib")
def test_what_kills_a_job_ends_that_job_alone(tmp_path: Path, cache: Path) -> None:
    with two_jobs(300, tmp_path, cache) as process:
        os.kill(jobs_of(process.pid)[0][0], signal.SIGKILL)
        _, err = process.communicate(timeout=900)
    assert process.returncode == 1, err
    assert "1 of 2 jobs failed" in err
    assert "its process was ended by SIGKILL" in err
    assert "Traceback" not in err
    assert len(list(tmp_path.rglob("result.json"))) == 1


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs a process table")
@pytest.mark.usefixtures("joblib")
def test_a_launcher_that_loses_a_process_goes_on(tmp_path: Path, cache: Path) -> None:
    with two_jobs(300, tmp_path, cache) as process:
        os.kill(jobs_of(process.pid)[0][1], signal.SIGKILL)
        out, err = process.communicate(timeout=900)
    assert process.returncode == 0, err
    assert "going on with what is not finished" in out
    assert len(list(tmp_path.rglob("result.json"))) == 2
