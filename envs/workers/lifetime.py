"""A process that never outlives the one that it works for."""

import os
import threading
import time

POLL_SECONDS = 0.5
KILLED = 137
"""Exit code of a process that noticed the death of the one it worked for."""


def end_with_parent(parent: int | None = None) -> None:
    """End this process, from now on, soon after the one that started it has died, however it died.

    Every file of a run bears that at any moment.

    Args:
        parent: the number of the process that started it; by default that which is known for it now.
    """
    expected = os.getppid() if parent is None else parent

    def watch() -> None:
        while os.getppid() == expected:
            time.sleep(POLL_SECONDS)
        os._exit(KILLED)

    threading.Thread(target=watch, name="end-with-parent", daemon=True).start()
