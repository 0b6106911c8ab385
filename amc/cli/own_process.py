"""A job in a process of its own: what kills it ends one job, and it never outlives the sweep that it belongs to."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable

POLL_SECONDS = 0.5
KILLED = 137
"""Exit code of a process that noticed the death of the one it worked for."""


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
        _, status = os.waitpid(child, 0)
    except BaseException:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        raise
    return os.waitstatus_to_exitcode(status)


def end_with_parent() -> None:
    """End this process, from now on, soon after the one that started it has died, however it died.

    Every file of a run bears that at any moment.
    """
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(POLL_SECONDS)
        os._exit(KILLED)

    threading.Thread(target=watch, name="end-with-parent", daemon=True).start()


def _exit_code(task: Callable[[], None]) -> int:
    try:
        task()
        return 0
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
