"""A limit on how long a piece of work may take, for work that may never end."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

WAITS, LOOKS = 5.0, 20.0
"""Work that does not get the processor may take so many times its limit; so often is looked while it takes that."""
SHORTEST = 0.05
"""Seconds between two looks, at the least: signals that come while one is handled leave no time for work."""


class TimeIsUp(BaseException):
    """The limit has passed. No ``Exception``, so that no handler inside the work swallows it."""


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise :class:`TimeIsUp` inside the block once it has worked for ``seconds``.

    Those are the processor's, of the thread, so that a busy machine does not end what a quiet one lets finish; a block
    that waits instead ends after ``WAITS`` times as long. The limit is an interval timer. Python delivers its signal to
    the main thread only, so in any other thread, on platforms without ``SIGALRM``, and where the caller's own timer is
    running, there is no limit.
    """
    if not _available():
        yield
        return
    worked, started = time.thread_time(), time.perf_counter()

    def stop(_: int, __: FrameType | None) -> None:
        if time.thread_time() - worked >= seconds or time.perf_counter() - started >= WAITS * seconds:
            signal.setitimer(signal.ITIMER_REAL, 0)
            raise TimeIsUp

    previous = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds, max(seconds / LOOKS, SHORTEST))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


def _available() -> bool:
    if not hasattr(signal, "SIGALRM") or threading.current_thread() is not threading.main_thread():
        return False
    return signal.getitimer(signal.ITIMER_REAL)[0] == 0.0
