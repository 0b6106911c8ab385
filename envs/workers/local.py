"""Workers that are processes of this machine."""

import os
import subprocess
import sys
import tempfile
from contextlib import suppress
from multiprocessing.connection import Connection, Pipe, wait
from pathlib import Path

from envs.engine.types import PruningEngine, Strategy
from envs.workers.crew import Answer
from envs.workers.parcel import pack, write_parcel

SAID_AT_MOST = 1 << 12
"""Bytes of a dead worker's last words."""


class LocalCrew:
    """Processes of this machine, each with a copy of the engine whose tensors all of them share.

    They are begun anew and not forked, since the threads of torch do not survive in a copy, and end with the driver
    however that ends. What they share lies in a file that no folder knows, so that nothing is left behind.

    Args:
        engine: of the driver.
        size: how many.
        threads: of torch in each.

    Attributes:
        size: how many.
    """

    def __init__(self, engine: PruningEngine, size: int, threads: int = 1) -> None:
        self.size = size
        self._threads = threads
        self._parcel = tempfile.TemporaryFile()  # noqa: SIM115  for as long as there are workers
        write_parcel(pack(engine), self._parcel)
        self._processes: list[subprocess.Popen[bytes]] = []
        self._pipes: list[Connection] = []
        self._said = [tempfile.TemporaryFile() for _ in range(size)]  # noqa: SIM115
        try:
            for worker in range(size):
                process, pipe = self._start(worker)
                self._processes.append(process)
                self._pipes.append(pipe)
        except OSError:
            self.close()
            raise

    def hand(self, worker: int, strategy: Strategy) -> None:
        """Have a worker evaluate a strategy."""
        with suppress(OSError):  # what is dead is noticed when it is waited for
            self._pipes[worker].send(strategy)

    def wait(self, seconds: float | None) -> list[Answer]:
        """Return what workers have to say, after so many seconds nothing."""
        said = wait(self._pipes, seconds)
        return [self._heard(worker) for worker, pipe in enumerate(self._pipes) if pipe in said]

    def close(self) -> None:
        """End all workers."""
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.wait()
        for pipe in self._pipes:
            pipe.close()
        for file in (self._parcel, *self._said):
            file.close()

    def _heard(self, worker: int) -> Answer:
        try:
            evaluation, error = self._pipes[worker].recv()
        except (EOFError, OSError):
            reason = self._bury(worker)
            self._processes[worker], self._pipes[worker] = self._start(worker)
            return Answer(worker, lost=reason)
        return Answer(worker, evaluation, error)

    def _bury(self, worker: int) -> str:
        self._pipes[worker].close()
        self._processes[worker].kill()
        code = self._processes[worker].wait()
        file = self._said[worker]
        file.seek(-min(SAID_AT_MOST, file.seek(0, os.SEEK_END)), os.SEEK_END)
        said = file.read().decode(errors="replace").strip()
        file.truncate(0)
        return said.splitlines()[-1] if said else f"exit code {code}"

    def _start(self, worker: int) -> tuple[subprocess.Popen[bytes], Connection]:
        ours, theirs = Pipe()
        # The same modules as here; -P, so that no folder is put in front of them.
        path = os.pathsep.join(folder or str(Path.cwd()) for folder in sys.path)
        numbers = (theirs.fileno(), self._parcel.fileno())
        try:
            process = subprocess.Popen(  # noqa: S603  numbers
                [sys.executable, "-P", "-m", "envs.workers.serve", *map(str, (*numbers, self._threads, os.getpid()))],
                stdin=subprocess.DEVNULL,
                stdout=self._said[worker],
                stderr=subprocess.STDOUT,
                pass_fds=numbers,
                env=os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": str(self._threads)},
                start_new_session=True,  # Ctrl-C is for the search
            )
        finally:
            theirs.close()
        return process, ours
