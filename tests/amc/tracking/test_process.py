"""The shield: whatever a tracker does, the search is neither changed nor held up, and hears of it once."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from amc.tracking.process import TrackerProcess
from amc.tracking.tracker import Ending, TrackedRun

ENDING = Ending({"dense/test_top1": 0.9}, [("conv", 0.5, 8, 16)], Path("model"), [Path("a.png"), Path("b.png")])
RECORDER = {"_target_": "fake_trackers.Recorder"}
# A loaded machine may take long to start a Python process; nobody waits longer than is needed.
PATIENT = 120.0


def told(run: TrackedRun) -> list[list[object]]:
    return [json.loads(line) for line in (run.folder / "told.jsonl").read_text().splitlines()]


def wait_for(run: TrackedRun, what: str) -> None:
    deadline = time.monotonic() + PATIENT
    while time.monotonic() < deadline:
        if (run.folder / "told.jsonl").exists() and any(line[0] == what for line in told(run)):
            return
        time.sleep(0.05)
    raise TimeoutError(what)


def tracker_pid(run: TrackedRun) -> int:
    """Return the process of a recorder, once it has started."""
    wait_for(run, "start")
    return int((run.folder / "pid").read_text())


def test_a_tracker_is_told_everything_in_order(
    tracked_run: TrackedRun, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    figures = [{"reward": 0.1 * index, "metric": 1 / 3} for index in range(500)]
    with TrackerProcess(RECORDER, tracked_run, PATIENT) as process:
        for index, values in enumerate(figures):
            process.report(index, values)
        process.finish(ENDING)
    start, *trials, finish = told(tracked_run)
    assert start == ["start", "study", "random", tracked_run.name, list(tracked_run.tags)]
    assert trials == [["trial", index, values] for index, values in enumerate(figures)]
    assert finish == ["finish", [ENDING.summary, [["conv", 0.5, 8, 16]], "model", ["a.png", "b.png"]]]
    assert not caplog.records
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("where", ["start", "trial", "finish"])
@pytest.mark.parametrize("how", ["raise", "exit", "hang"])
def test_a_broken_tracker_costs_one_line(
    where: str, how: str, tracked_run: TrackedRun, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    settings = {"_target_": "fake_trackers.Broken", "where": where, "how": how}
    patience = 0.5 if how == "hang" else PATIENT
    with TrackerProcess(settings, tracked_run, patience) as process:
        for index in range(3):
            process.report(index, {"reward": 0.0})
        before = time.monotonic()
        process.finish(ENDING)
        if how == "hang":
            assert time.monotonic() - before < patience + 5
    (line,) = caplog.records
    assert line.levelname == "WARNING"
    assert line.getMessage().startswith("Broken: ")
    said = {"raise": "OSError: no space left, on this device", "exit": "exit code 7|chatter", "hang": "not done after"}
    assert any(words in line.getMessage() for words in said[how].split("|"))
    assert "\n" not in line.getMessage()
    assert capfd.readouterr() == ("", "")


def test_a_failure_is_noticed_during_the_search_and_only_once(
    tracked_run: TrackedRun, caplog: pytest.LogCaptureFixture
) -> None:
    settings = {"_target_": "fake_trackers.Broken", "where": "trial", "how": "raise"}
    with TrackerProcess(settings, tracked_run, PATIENT) as process:
        deadline = time.monotonic() + PATIENT
        trial = 0
        while not caplog.records and time.monotonic() < deadline:
            process.report(trial, {"reward": 0.0})
            trial += 1
            time.sleep(0.05)
        for _ in range(3):
            process.report(trial, {"reward": 0.0})
        process.finish(ENDING)
    assert len(caplog.records) == 1


def test_reporting_does_not_wait_for_a_tracker_that_never_reads(tracked_run: TrackedRun) -> None:
    with TrackerProcess(RECORDER, tracked_run, 0.1) as process:
        pid = tracker_pid(tracked_run)
        os.kill(pid, signal.SIGSTOP)
        try:
            before = time.monotonic()
            # Many times what a pipe holds.
            for index in range(5000):
                process.report(index, {"reward": 0.123456789, "metric": 0.123456789})
            process.finish(ENDING)
            assert time.monotonic() - before < 8
        finally:
            os.kill(pid, signal.SIGKILL)


def test_signals_to_every_process_of_a_job_do_not_end_the_tracker(tracked_run: TrackedRun) -> None:
    with TrackerProcess(RECORDER, tracked_run, PATIENT) as process:
        for number in (signal.SIGINT, signal.SIGTERM):
            os.kill(tracker_pid(tracked_run), number)
        process.report(0, {"reward": 0.5})
        process.finish(ENDING)
    assert [line[0] for line in told(tracked_run)] == ["start", "trial", "finish"]


def test_a_program_that_cannot_be_started_costs_one_line(
    tracked_run: TrackedRun, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sys, "executable", str(tracked_run.folder / "nowhere"))
    with TrackerProcess(RECORDER, tracked_run) as process:
        process.report(0, {"reward": 0.0})
        process.finish(ENDING)
    assert len(caplog.records) == 1
    assert "cannot be started" in caplog.text


def test_a_search_that_fails_closes_its_run_as_failed(tracked_run: TrackedRun) -> None:
    def failing_search() -> None:
        with TrackerProcess(RECORDER, tracked_run) as process:
            process.report(0, {"reward": 0.0})
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        failing_search()
    wait_for(tracked_run, "finish")
    assert told(tracked_run)[1:] == [["trial", 0, {"reward": 0.0}], ["finish", None]]


SEARCH = """
import json, os, signal, sys, time
from pathlib import Path
from amc.tracking.process import TrackerProcess
from amc.tracking.tracker import TrackedRun

run = TrackedRun(Path(sys.argv[1]), "study", "random", "name")
(run.folder / "told.jsonl").touch()
with TrackerProcess({"_target_": "fake_trackers.Recorder"}, run) as process:
    process.report(0, {"reward": 0.5})
    while "trial" not in (run.folder / "told.jsonl").read_text():
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_search_has_told_its_trials(tracked_run: TrackedRun) -> None:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", SEARCH, str(tracked_run.folder)]
    assert subprocess.run(command, env=environment, timeout=PATIENT).returncode == -signal.SIGKILL
    wait_for(tracked_run, "finish")
    assert told(tracked_run)[1:] == [["trial", 0, {"reward": 0.5}], ["finish", None]]
