"""Where a job ends: in a process of its own it ends alone and never outlives its sweep; ``os._exit`` ends it aloud."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

from envs.workers.lifetime import KILLED, POLL_SECONDS, end_with_parent


def run_in_own_process(task: Callable[[], None], parent: int | None = None) -> int:
    """Run a task in a copy of this process, wait for it, and return its exit code, negative where a signal ended it.

    To be called before torch is there, whose threads do not survive in a copy.

    Args:
        task: says itself what went wrong; ``SystemExit`` sets the exit code.
        parent: the number of the process that this one ends with, which may be gone already; by default of the one
            that is known for it now.
    """
    parent = os.getppid() if parent is None else parent
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        code = KILLED
        try:
            end_with_parent()
            code = _exit_code(task)
        finally:
            # Not sys.exit: what the process above has to do at its end is not the copy's business.
            os._exit(code)
    try:
        return _wait_for(child, parent)
    except BaseException:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        raise


def _wait_for(child: int, parent: int) -> int:
    """Return a process's exit code; end both as soon as the process above this one is gone."""
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        if os.getppid() != parent:
            os.kill(child, signal.SIGKILL)
            os._exit(KILLED)
        time.sleep(POLL_SECONDS / 5)


def _exit_code(task: Callable[[], None]) -> int:
    try:
        task()
        return 0
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


@contextmanager
def hard_exits_raised() -> Iterator[None]:
    """Let ``os._exit`` raise ``SystemExit`` in this thread, as ``exit`` does, for as long as the block lasts.

    In code of the user's it would end a run in the middle, in silence, and with 0 as if all were well. Copies
    of this process, as a loader's workers are, and other threads end as ever. What ends a process from C, or was
    imported from ``os`` before, is out of reach: only a second process could tell of it.
    """
    end, process, thread = os._exit, os.getpid(), threading.get_ident()

    def raising(status: int) -> NoReturn:
        if os.getpid() == process and threading.get_ident() == thread:
            raise SystemExit(status)
        end(status)

    vars(os)["_exit"] = raising
    try:
        yield
    finally:
        vars(os)["_exit"] = end
