"""Processes at once: on one folder, and on a cache that is empty."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.faults import machine
from benchmarks.faults.judging import differences, found, runs_below
from benchmarks.faults.killed import Row, Sabotage


def together(processes: int, workshop: Path, sabotage: Sabotage | None = None) -> Iterator[Row]:
    """Run two and ``processes`` at once, with one command, and with as many seeds that need the same dense network."""
    for count in sorted({2, processes}):
        for what, commands in (
            ("one folder", [["policy=random", "seed=0"]] * count),
            ("a cold cache", [["policy=random", f"seed={seed}"] for seed in range(count)]),
        ):
            base, place = workshop / f"base {what}{count}", workshop / f"{what}{count}"
            expected_evaluations = 0
            base.mkdir()
            place.mkdir()
            for command in commands:
                expected_evaluations += machine.run(base, command).evaluations
            failures = _at_once(place, commands, sabotage)
            if not failures and (wrong := differences(place, found(base))):
                failures = [wrong]
            evaluated = sum(int(path.read_text()) for path in place.glob("evaluated*"))
            if not failures and evaluated > expected_evaluations:
                failures = [f"{evaluated} evaluations instead of {expected_evaluations}"]
            logs = [(run / "search.log").read_text() for run in runs_below(place)]
            trained = sum(log.count("not trained yet") for log in logs)
            if not failures and trained != 1:
                failures = [f"the same network was trained {trained} times"]
            yield Row(f"{count} processes at once", what, count, 1, failures)


def _at_once(place: Path, commands: Sequence[Sequence[str]], sabotage: Sabotage | None) -> list[str]:
    children = {}
    for number, command in enumerate(commands):
        child = os.fork()
        if child == 0:
            ended = machine.run(place, command, sabotage)
            (place / f"evaluated{number}").write_text(str(max(ended.evaluations, 0)))
            (place / f"said{number}").write_text(ended.errors)
            os._exit(ended.code if ended.code >= 0 else machine.BUG)
        children[child] = number
    codes = {number: os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child, number in children.items()}
    return [
        f"process {number} ends with {code}: {(place / f'said{number}').read_text()[-200:]}"
        for number, code in codes.items()
        if code != 0
    ]
