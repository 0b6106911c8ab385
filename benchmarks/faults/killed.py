"""Faults at every operation of a run and at random moments, and what the same command makes of what is left."""

import json
import os
import shutil
import signal
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.faults import machine
from benchmarks.faults.judging import differences, found
from benchmarks.faults.moments import ERRORS, FAULTS, Moment, Recording, record

Sabotage = Callable[[], None]
SETTINGS: Mapping[str, Sequence[str]] = {
    **{
        name: [f"policy={name}"]
        for name in ("amc", "global_threshold", "optuna", "pareto", "random", "reconstruction", "sac", "sensitivity")
    },
    "td3": ["policy=td3"],
    "uniform": ["policy=uniform"],
    "two stages": ["policy=random", "stages=2"],
    "masks": ["policy=optuna", "granularity=element", "round_to=null"],
    "sweep": ["-m", "policy=random,sensitivity", "episodes=3"],
}


class Row(NamedTuple):
    """A line of the table.

    Attributes:
        protocol: what was done.
        setting: to what.
        tried: how often.
        states: how many different states of the disk that came to.
        failures: what went wrong, a line each.
    """

    protocol: str
    setting: str
    tried: int
    states: int
    failures: list[str]


def every_operation(
    setting: str, workshop: Path, every: int = 1, first: int = 0, sabotage: Sabotage | None = None
) -> Iterator[Row]:
    """Meet every fault at every operation of a run, and go on from every state that this leaves.

    Args:
        setting: of ``SETTINGS``.
        workshop: a folder, see ``benchmarks.faults.moments.record``.
        every: take every so-manieth operation only.
        first: so many operations earlier than the ``every``-th.
        sabotage: breaks the package, in the process that runs.
    """
    machine.warm_up(SETTINGS[setting])
    recording = record(workshop, SETTINGS[setting], FAULTS, sabotage, every, first)
    if recording.ended.code != 0:
        raise RuntimeError(f"an undisturbed run fails: {recording.ended.errors}")
    expected = _undisturbed(setting, workshop, sabotage)
    resumed = _resume_all(setting, workshop, recording, expected, sabotage)
    by_fault: dict[str, list[Moment]] = defaultdict(list)
    for moment in recording.moments:
        by_fault[moment.fault].append(moment)
    for fault, moments in by_fault.items():
        failures = [said for moment in moments if (said := _judge(moment, resumed[moment.state], recording))]
        yield Row(fault, setting, len(moments), len({moment.state for moment in moments}), failures)


class _Resumed(NamedTuple):
    evaluations: int
    wrong: str


def _resume_all(
    setting: str, workshop: Path, recording: Recording, expected: Mapping[str, Any], sabotage: Sabotage | None
) -> Mapping[str, _Resumed]:
    """Go on from every state, and keep what came of it: there may be a next time."""
    kept = workshop / "resumed"
    lines = kept.read_text().splitlines() if kept.exists() else []
    resumed = {state: _Resumed(*rest) for state, *rest in map(json.loads, lines)}
    for state, path in sorted(recording.states.items()):
        if state not in resumed:
            machine.check_time()
            resumed[state] = _resume(setting, path, expected, sabotage)
            with kept.open("a") as file:
                file.write(json.dumps([state, *resumed[state]]) + "\n")
    return resumed


def _undisturbed(setting: str, workshop: Path, sabotage: Sabotage | None) -> Mapping[str, Any]:
    """Return what a run leaves that nobody broke and nobody watched."""
    if sabotage is None:
        return found(workshop / "place")
    place = workshop / "undisturbed"
    place.mkdir(exist_ok=True)
    machine.run(place, SETTINGS[setting])
    return found(place)


def _resume(setting: str, place: Path, expected: Mapping[str, Any], sabotage: Sabotage | None) -> _Resumed:
    # The state stays, in case that this is cut short itself.
    again = place.parents[1] / "again"
    shutil.rmtree(again, ignore_errors=True)
    place = shutil.copytree(place, again)
    ended = machine.run(place, SETTINGS[setting], sabotage)
    wrong = differences(place, expected) if ended.code == 0 else f"exit code {ended.code}: {ended.errors[-300:]}"
    shutil.rmtree(place)
    return _Resumed(ended.evaluations, wrong)


def _judge(moment: Moment, resumed: _Resumed, recording: Recording) -> str:
    where = f"{moment.fault} at operation {moment.number}, {moment.operation}"
    lines = [line for line in moment.errors.splitlines() if line.strip()]
    if moment.fault in ERRORS and not (moment.code == 0 or (moment.code == 5 and len(lines) == 1)):
        return f"{where}: exit code {moment.code}, {len(lines)} lines: {' '.join(lines[-2:])[-300:]}"
    if resumed.wrong:
        return f"{where}, and the same command again: {resumed.wrong}"
    repeated = moment.evaluations + resumed.evaluations - recording.ended.evaluations
    return f"{where}: {repeated} episodes repeated" if repeated > 1 else ""


def random_kills(numbers: range, workshop: Path, sabotage: Sabotage | None = None) -> Iterator[Row]:
    """Kill runs with SIGKILL at random moments, give the command again, and compare; the settings take turns."""
    names = [name for name in SETTINGS if name != "sweep"]
    failures, beginnings = [], {}
    for number in numbers:
        setting = names[number % len(names)]
        if setting not in beginnings:
            base = workshop / f"base {setting}"
            base.mkdir()
            machine.warm_up(SETTINGS[setting])
            began = time.monotonic()
            undisturbed = machine.run(base, SETTINGS[setting])
            beginnings[setting] = (found(base), time.monotonic() - began, undisturbed.evaluations)
        expected, seconds, evaluations = beginnings[setting]
        place = workshop / str(number)
        place.mkdir()
        _kill_after(place, SETTINGS[setting], np.random.default_rng(number).random() * seconds, sabotage)
        before = int.from_bytes(machine.so_far, "little")
        ended = machine.run(place, SETTINGS[setting], sabotage)
        wrong = differences(place, expected) if ended.code == 0 else f"exit code {ended.code}: {ended.errors[-300:]}"
        repeated = before + ended.evaluations - evaluations
        wrong = wrong or (f"{repeated} episodes repeated" if repeated > 1 else "")
        failures += [f"{setting}, kill {number}: {wrong}"] if wrong else []
        shutil.rmtree(place)
    yield Row("SIGKILL at a random moment", f"{len(names)} settings", len(numbers), len(numbers), failures)


def _kill_after(place: Path, arguments: Sequence[str], seconds: float, sabotage: Sabotage | None) -> None:
    machine.so_far[:] = bytes(8)
    child = os.fork()
    if child == 0:
        os.setpgrp()
        machine.run(place, arguments, sabotage)
        os._exit(0)
    time.sleep(seconds)
    try:
        os.killpg(child, signal.SIGKILL)
    except ProcessLookupError:  # it has not yet begun, or has ended
        os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
