"""A tracker beside the search, in a process of its own: whatever happens to it, the search goes on unchanged.

A thread would not do. W&B's exit hooks wait for a server that does not answer after everything else has ended, its
libraries write to standard output, replace ``sys.exit``, and cannot be stopped; a process can be left.
"""

import json
import logging
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import asdict
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from time import monotonic
from typing import IO, Any, Self, cast

from amc.environment import public
from amc.tracking.tracker import Ending, Figures, TrackedRun
from amc.tracking.worker import LINGER_SECONDS, Message

log = logging.getLogger(__name__)
PATIENCE_SECONDS = 8.0
TAIL_BYTES = 1 << 14


def known_as(settings: Mapping[str, Any]) -> str:
    """Return what tells a tracker from others: its settings, without what comes from the environment."""
    return json.dumps(public(settings), sort_keys=True, default=str)


class TrackerProcess(AbstractContextManager["TrackerProcess"]):
    """Starts a tracker's process and passes on what it is to be told. The first failure is one line in the log.

    Nothing here raises or waits, except that ``finish`` waits a little for the process to end.

    Args:
        settings: the tracker's, with its ``_target_``.
        run: what is tracked.
        patience: seconds that ``finish`` may wait.

    Attributes:
        known_as: what tells the tracker from others.
    """

    def __init__(self, settings: Mapping[str, Any], run: TrackedRun, patience: float = PATIENCE_SECONDS) -> None:
        self.known_as = known_as(settings)
        self._name = str(settings["_target_"]).rpartition(".")[2]
        self._first = {"tracker": dict(settings), "run": asdict(run)}
        self._patience = patience
        self._messages: SimpleQueue[Message | None] = SimpleQueue()
        self._process: subprocess.Popen[bytes] | None = None
        self._output: IO[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            self._output = tempfile.TemporaryFile()
            self._process = _start_worker(self._output)
            Thread(target=_feed, args=(self._process, self._messages), daemon=True).start()
        except (OSError, RuntimeError) as error:  # no file, no process, no thread
            self._give_up(f"cannot be started ({error})")
        else:
            self._messages.put(self._first)
        return self

    def __exit__(self, *_: object) -> None:
        """Tell the process that no more comes. It ends by itself, soon."""
        self._messages.put(None)
        self._process = None
        if self._output is not None:
            self._output.close()

    def report(self, trial: int, figures: Figures) -> None:
        """Pass on the figures of a trial."""
        if self._process is not None and self._process.poll() is not None:
            self._give_up(self._last_words(self._process.returncode))
        if self._process is not None:
            self._messages.put({"trial": trial, "figures": figures})

    def finish(self, ending: Ending) -> bool:
        """Pass on how the run ended, give the process the time to be done with it, and return whether it was."""
        if self._process is None:
            return False
        started = monotonic()
        self._messages.put({"ending": asdict(ending)})
        self._messages.put(None)
        try:
            code = self._process.wait(self._patience)
        except subprocess.TimeoutExpired:
            waited = monotonic() - started
            self._give_up(f"not done after {waited:.0f} s; it may go on in the background for {LINGER_SECONDS:.0f} s")
            return False
        if code != 0:
            self._give_up(self._last_words(code))
        return code == 0

    def _give_up(self, reason: str) -> None:
        self._process = None
        log.warning("%s: %s; the run is not affected, its folder holds everything", self._name, reason)

    def _last_words(self, code: int) -> str:
        """Return the last line that a process which failed has written."""
        said = ""
        with suppress(OSError):
            if self._output is not None:
                self._output.seek(-min(TAIL_BYTES, self._output.seek(0, os.SEEK_END)), os.SEEK_END)
                said = self._output.read().decode(errors="replace").strip()
        log.debug("%s wrote:\n%s", self._name, said)
        return said.splitlines()[-1] if said else f"ended with exit code {code}"


def _start_worker(output: IO[bytes]) -> subprocess.Popen[bytes]:
    # The same modules as here; -P, so that no folder is put in front of them.
    path = os.pathsep.join(folder or str(Path.cwd()) for folder in sys.path)
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "amc.tracking.worker"],
        stdin=subprocess.PIPE,
        stdout=output,
        stderr=subprocess.STDOUT,
        env=os.environ | {"PYTHONPATH": path},
        start_new_session=True,  # Ctrl-C is for the search
    )


def _feed(process: subprocess.Popen[bytes], messages: "SimpleQueue[Message | None]") -> None:
    """Write messages as they come, in a thread: a process that does not read fills the pipe, and writing blocks."""
    # A process that has ended is noticed by whoever sends the next trial.
    with suppress(OSError), cast(IO[bytes], process.stdin) as pipe:
        while (message := messages.get()) is not None:
            pipe.write(json.dumps(message, default=str).encode() + b"\n")
            pipe.flush()
    # Where nobody waits any more, it is still to be buried.
    process.wait()
