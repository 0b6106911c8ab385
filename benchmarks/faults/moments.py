"""One run, and what becomes of it at every one of its operations on files.

The run goes on undisturbed. Before each operation a copy of the process is made that meets a fault there: it is
killed, its write is torn, or the operating system refuses the operation, from then on or once. What it leaves on disk
is recorded, and the folder is put back. So all faults of a run cost little more than the run.
"""

import ctypes
import errno
import json
import os
import shutil
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.faults import machine
from benchmarks.faults.operations import TAKES_SPACE, Operation, watch
from benchmarks.faults.power import Disk
from benchmarks.faults.states import Content, Frozen, content_of, digest, lay_out

ERRORS = {"disk full": errno.ENOSPC, "read-only": errno.EROFS, "quota": errno.EDQUOT, "I/O error": errno.EIO}
ONCE = {"I/O error"}
FAULTS = ("kill", "torn write", *ERRORS, "power loss")


class Moment(NamedTuple):
    """What a fault at an operation left behind.

    Attributes:
        fault: of ``FAULTS``.
        number: of the operation, from 1.
        operation: its kind and file, in words.
        state: what lay on disk, see ``benchmarks.faults.states.digest``.
        evaluations: networks that were evaluated until then.
        code: exit code of the process that met the fault; the signal where it was killed.
        errors: what it said on stderr.
    """

    fault: str
    number: int
    operation: str
    state: str
    evaluations: int
    code: int
    errors: str


class Recording(NamedTuple):
    """A run with all its moments.

    Attributes:
        ended: how the undisturbed run ended.
        content: what it left.
        moments: all faults.
        states: what lay on disk, by digest.
    """

    ended: machine.Ended
    content: Content
    moments: Sequence[Moment]
    states: Mapping[str, Path]


def record(
    workshop: Path,
    arguments: Sequence[str],
    faults: Sequence[str],
    sabotage: Callable[[], None] | None = None,
    every: int = 1,
    first: int = 0,
) -> Recording:
    """Run a search in ``workshop / "place"``, and meet the faults at every operation.

    Args:
        workshop: a folder, empty or with a recording that is done.
        arguments: of the command line.
        faults: of ``FAULTS``.
        sabotage: breaks the package, in the process that runs.
        every: take every so-manieth operation only.
        first: so many operations earlier than the ``every``-th.
    """
    place, spool = workshop / "place", workshop / "states"
    if (spool / "ended").exists():
        return _recorded(place, spool)
    for folder in (place, spool):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    recorder = _Recorder(place, spool, faults, every, first)

    def begin() -> None:
        if sabotage is not None:
            sabotage()
        watch(place, recorder)

    ended = machine.run(place, arguments, begin)
    (spool / "ended").write_text(json.dumps(ended))
    return _recorded(place, spool)


def _recorded(place: Path, spool: Path) -> Recording:
    ended = machine.Ended(*json.loads((spool / "ended").read_text()))
    lines = (spool / "moments").read_text().splitlines()
    moments = [Moment(*json.loads(line)) for line in lines]
    states = {path.name: path for path in spool.iterdir() if path.is_dir()}
    return Recording(ended, content_of(place), moments, states)


def _copy_of_this_process() -> int:
    """Fork behind Python's back, whose hooks at a fork would let go of locks that are held; 0 in the copy."""
    return int(ctypes.PyDLL(None).fork())


class _Recorder:
    def __init__(self, place: Path, spool: Path, faults: Sequence[str], every: int, first: int) -> None:
        self._place, self._spool, self._faults, self._every, self._first = place, spool, faults, every, first
        self._number = 0
        self._disk = Disk(place)
        self._failing: tuple[str, int] | None = None

    def __call__(self, operation: Operation) -> bytes | None:
        if self._failing is not None:
            fault, number = self._failing
            if fault not in ONCE and (operation.kind in TAKES_SPACE or fault == "read-only"):
                raise OSError(number, os.strerror(number))
            return None
        self._number += 1
        if (self._number + self._first) % self._every == 0:
            content = content_of(self._place)
            for fault in self._faults:
                self._meet(fault, operation, dict(content))
        self._disk.apply(operation)
        return None

    def _meet(self, fault: str, operation: Operation, content: dict[str, bytes | None]) -> None:
        said = f"{operation.kind} {operation.path.name}"
        if fault == "power loss":
            for state in self._disk.worst_states():
                self._note(fault, said, state, -signal.SIGKILL, "")
        elif fault == "kill":
            self._note(fault, said, content, -signal.SIGKILL, "")
        elif fault == "torn write":
            if operation.kind == "write":
                name = str(operation.path.relative_to(self._place))
                before = content.get(name) or b""
                content[name] = before + operation.content[: len(operation.content) // 2]
                self._note(fault, said, content, -signal.SIGKILL, "")
        elif operation.kind in TAKES_SPACE or fault != "disk full":
            self._fail(fault, said)

    def _fail(self, fault: str, said: str) -> None:
        """Let a copy of this process meet an error, which comes from the operation that is about to happen."""
        frozen = Frozen(self._place, self._spool / "aside")
        log = self._spool / "errors"
        me = os.getpid()
        child = _copy_of_this_process()
        if child == 0:
            # Locks that are held, and their holder's number, are what they would be without the copy.
            vars(os).update(getpid=lambda: me)
            machine.redirect(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC))
            self._failing = (fault, ERRORS[fault])
            raise OSError(ERRORS[fault], os.strerror(ERRORS[fault]))
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        self._note(fault, said, content_of(self._place), code, log.read_text(errors="replace"))
        frozen.put_back()

    def _note(self, fault: str, said: str, content: Content, code: int, errors: str) -> None:
        state = digest(content)
        if not (self._spool / state).exists():
            lay_out(content, self._spool / state)
        moment = Moment(fault, self._number, said, state, machine.evaluations, code, errors)
        with (self._spool / "moments").open("a") as file:
            file.write(json.dumps(moment) + "\n")
