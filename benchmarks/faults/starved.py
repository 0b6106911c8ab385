"""Disks that are full and files that are limited, at so many levels: one line, exit code 5; with room again, on."""

import errno
import os
import resource
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from benchmarks.faults import machine
from benchmarks.faults.judging import differences, found
from benchmarks.faults.killed import SETTINGS, Row, Sabotage
from benchmarks.faults.operations import Operation, watch
from benchmarks.faults.states import content_of

ARGUMENTS = SETTINGS["random"]


def starved(levels: int, workshop: Path, sabotage: Sabotage | None = None) -> Iterator[Row]:
    """Let the disk be full behind so many bytes, and files be no longer than so many; then give room."""
    base = workshop / "base"
    base.mkdir()
    machine.warm_up(ARGUMENTS)
    machine.run(base, ARGUMENTS)
    sizes = [len(each) for each in content_of(base).values() if each]
    for what, most, limited in (
        ("disk full behind so many bytes", sum(sizes), _limit_disk),
        ("limit on a file's size (RLIMIT_FSIZE)", max(sizes), _limit_files),
    ):
        failures = []
        for level in range(levels):
            place = workshop / f"{what[:4]}{level}"
            place.mkdir()
            limit = int(most * (level + 0.5) / levels)
            wrong = _starve(place, partial(limited, place, limit), found(base), sabotage)
            failures += [f"{limit} bytes: {wrong}"] if wrong else []
        yield Row(what, "random", levels, levels, failures)


def _starve(place: Path, limited: Callable[[], None], expected: object, sabotage: Sabotage | None) -> str:
    def begin() -> None:
        if sabotage is not None:
            sabotage()
        limited()

    ended = machine.run(place, ARGUMENTS, begin)
    lines = machine.error_lines(ended)
    if ended.code != 5 or len(lines) != 1:
        return f"exit code {ended.code}, {len(lines)} lines: {lines[-2:]}"
    again = machine.run(place, ARGUMENTS, sabotage)
    if again.code != 0:
        return f"with room, exit code {again.code}: {again.errors[-200:]}"
    return differences(place, expected)  # type: ignore[arg-type]


def _limit_disk(place: Path, limit: int) -> None:
    left = limit

    def hear(operation: Operation) -> bytes | None:
        nonlocal left
        if operation.kind == "write" and left > 0:
            fits = bytes(operation.content[:left])
            left -= len(fits)
            return fits
        if left <= 0 and operation.kind in ("open", "write", "mkdir"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return None

    watch(place, hear)


def _limit_files(_place: Path, limit: int) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
