"""A job in a process of its own: what kills it ends one job, and it never outlives the sweep that it belongs to."""

import os
import signal
import sys
import time
from collections.abc import Callable

from envs.workers.lifetime import KILLED, POLL_SECONDS, end_with_parent


def run_in_own_process(task: Callable[[], None]) -> int:
    """Run a task in a copy of this process, wait for it, and return its exit code, negative where a signal ended it.

    To be called before torch is there, whose threads do not survive in a copy.

    Args:
        task: says itself what went wrong; ``SystemExit`` sets the exit code.
    """
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
        return _wait_for(child)
    except BaseException:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        raise


def _wait_for(child: int) -> int:
    """Return a process's exit code; end both as soon as the process above this one is gone."""
    parent = os.getppid()
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
