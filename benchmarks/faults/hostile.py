"""Files of strangers: does one run code, take memory or time without end, or end otherwise than in one line?

A file that would run code writes a file beside itself, whose being there is the proof.
"""

import os
import resource
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import amc
from amc.cli.user_errors import as_user_error
from amc.compare import main as compare
from amc.names import printable_line
from amc.verify import main as verify
from amc.weights.loading import read_header
from benchmarks.faults import machine, tiny
from benchmarks.faults.hostile_checkpoints import CHECKPOINTS, honest_checkpoint
from benchmarks.faults.hostile_images import IMAGE_FOLDERS, honest_images
from benchmarks.faults.hostile_runs import MARKUP, RUN_FOLDERS
from benchmarks.faults.killed import SETTINGS, Row, Sabotage

SECONDS, WAITED, BYTES = 10, 60, 1 << 30
"""Of a processor and by the clock: what waits for a pipe takes none of a processor. Memory, beside what is shared."""
MOST_MEMORY = 3 << 30
"""What a process may ask for at all: a device that never ends is to end the process, not the machine."""
CODES = {0, 2, 3, 4, 5}
IMAGES = [
    *("data=image_folder", "data.name=image_folder", "data.folder=images", "data.image_size=8", "data._target_=null"),
    *("data.calibration=2", "data.search=2", "policy=uniform", "train.batch_size=2"),
]


class _Answer(NamedTuple):
    ended: machine.Ended
    seconds: float
    more_bytes: int


def hostile_files(count: int, workshop: Path, sabotage: Sabotage | None = None) -> Iterator[Row]:
    """Have so many hostile checkpoints, run folders and images read, each by the command that reads such files."""
    base = workshop / "base"
    base.mkdir()
    machine.run(base, SETTINGS["random"])
    (run,) = (base / "outputs").rglob("seed0")
    _check_honest(workshop, run, sabotage)
    kinds: dict[str, list[Callable[[Path], machine.Ended]]] = {
        "checkpoints": [partial(_checkpoint, make, sabotage) for make in CHECKPOINTS.values()],
        "run folders": [partial(_run, run, make, sabotage) for make in RUN_FOLDERS.values()],
        "image folders": [partial(_images, make, sabotage) for make in IMAGE_FOLDERS.values()],
    }
    names = {"checkpoints": list(CHECKPOINTS), "run folders": list(RUN_FOLDERS), "image folders": list(IMAGE_FOLDERS)}
    for kind, reads in kinds.items():
        failures = []
        for name, read in list(zip(names[kind], reads, strict=True))[:count]:
            place = workshop / f"{kind} {name}".replace(" ", "-")
            place.mkdir()
            wrong = _judge(place, read)
            failures += [f"{name}: {wrong}"] if wrong else []
            shutil.rmtree(place, ignore_errors=True)
        tried = min(count, len(reads))
        yield Row(f"hostile {kind}", "no code, one line, 10 s, 1 GB", tried, tried, failures)


def _check_honest(workshop: Path, run: Path, sabotage: Sabotage | None) -> None:
    """See that what is no trap is read: a reader that refuses everything would do well here, and fail when broken."""
    readers: list[Callable[[Path], machine.Ended]] = [
        partial(_checkpoint, honest_checkpoint, sabotage),
        partial(_images, honest_images, sabotage),
        partial(_run, run, lambda _: None, sabotage),
    ]
    for number, read in enumerate(readers):
        place = workshop / f"honest{number}"
        place.mkdir()
        ended = read(place)
        if ended.code != 0:
            raise RuntimeError(f"what is honest is refused: {ended.errors}")


def _judge(place: Path, read: Callable[[Path], machine.Ended]) -> str:
    used = os.times()
    ended = read(place)
    now = os.times()
    seconds = now.children_user + now.children_system - used.children_user - used.children_system
    memory = machine.peak_bytes - resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    lines = machine.error_lines(ended)
    if list(place.rglob("canary")):
        return "it ran code"
    if scripted := [page.name for page in place.rglob("*.html") if MARKUP in page.read_text(errors="replace")]:
        return f"it scripts {scripted[0]}"
    if seconds > SECONDS or ended.code < 0:
        return f"exit code {ended.code} after {seconds:.0f} s"
    if memory > BYTES:
        return f"it took {memory >> 20} MB more"
    if ended.code not in CODES or "a bug?" in ended.errors or len(lines) != (ended.code != 0):
        return f"exit code {ended.code}, {len(lines)} lines: {lines[-2:]}"
    return "" if all(line.isprintable() for line in lines) else f"not printable: {lines[0]!r}"


def _checkpoint(make: Callable[[Path], None], sabotage: Sabotage | None, place: Path) -> machine.Ended:
    path = place / "file.pt"
    make(path)
    found = next(iter(sorted(place.glob("file.*"))), path)
    return machine.run(place, ["policy=uniform", f"model.checkpoint={found}"], partial(_begin, sabotage))


def _images(make: Callable[[Path], None], sabotage: Sabotage | None, place: Path) -> machine.Ended:
    make(place / "images")

    def begin() -> None:
        _begin(sabotage)
        # What Pillow would start for an EPS: whether a machine has Ghostscript is not the question.
        (place / "bin").mkdir()
        (place / "bin" / "gs").write_text(f"#!/bin/sh\ntouch {place / 'canary'}\n")
        (place / "bin" / "gs").chmod(0o755)
        os.environ["PATH"] = f"{place / 'bin'}:{os.environ['PATH']}"

    return machine.run(place, IMAGES, begin)


def _run(run: Path, make: Callable[[Path], None], sabotage: Sabotage | None, place: Path) -> machine.Ended:
    folder, shown = place / "run", place / "shown"
    shutil.copytree(run, folder)
    make(folder)

    def read_all() -> int:
        _begin(sabotage)
        os.chdir(place)
        os.dup2(os.open(shown, os.O_WRONLY | os.O_CREAT), 1)
        code = 0
        for read in (_load, lambda path: verify([str(path)]), lambda path: compare([str(path)])):
            try:
                read(folder)
            except Exception as error:
                known = as_user_error(error)
                code = max(code, known.exit_code)
                os.write(3, printable_line(known).encode() + b"\n")
        sys.stdout.flush()
        return code

    with (place / "said").open("w+") as said:
        code = machine.in_child(lambda: _with_errors_at(3, read_all), said.fileno())
        said.seek(0)
        errors = said.read()
    # Three readers may say a line each, and show tables.
    tables = shown.read_text(errors="replace").split("\n") if shown.exists() else []
    bugs = [line for line in (*errors.splitlines(), *tables) if "a bug?" in line or not line.isprintable()]
    return machine.Ended(code, "\n".join(bugs[:1] or errors.splitlines()[:1]), 0)


def _load(folder: Path) -> None:
    amc.load(folder, model=None if read_header(folder).model else tiny.net)


def _with_errors_at(descriptor: int, task: Callable[[], int]) -> int:
    os.dup2(2, descriptor)
    return task()


def _begin(sabotage: Sabotage | None) -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS + 2, SECONDS + 3))
    signal.setitimer(signal.ITIMER_REAL, WAITED)
    held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (held + MOST_MEMORY,) * 2)
    if sabotage is not None:
        sabotage()
