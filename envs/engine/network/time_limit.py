"""A limit on how long a piece of work may take, for work that may never end."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class TimeIsUp(BaseException):
    """The limit has passed. No ``Exception``, so that no handler inside the work swallows it."""


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise :class:`TimeIsUp` inside the block once ``seconds`` have passed.

    The limit is an interval timer. Python delivers its signal to the main thread only, so in any other thread, on
    platforms without ``SIGALRM``, and where the caller's own timer is running, there is no limit.
    """
    if not _available():
        yield
        return

    def stop(_: int, __: FrameType | None) -> None:
        raise TimeIsUp

    previous = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


def _available() -> bool:
    if not hasattr(signal, "SIGALRM") or threading.current_thread() is not threading.main_thread():
        return False
    return signal.getitimer(signal.ITIMER_REAL)[0] == 0.0
