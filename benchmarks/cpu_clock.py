"""The time that a method has, in seconds of a machine that always runs at the same pace."""

from collections.abc import Callable
from statistics import median
from time import process_time

AGAIN = 1.0
"""CPU seconds after which the machine's pace is measured anew."""
TIMES = 3
"""Passes of the yardstick whose median is the machine's pace."""


def cpu_seconds() -> float:
    """Return the CPU seconds of this process so far: the one place that the study's times come from."""
    return process_time()


class Pace:
    """How fast the machine is just now, by the time that always the same work takes.

    A virtual machine's CPU seconds are worth more or less by what its neighbours do, by 40% within minutes: whoever is
    measured in a slow one would seem to have had less time.

    Args:
        yardstick: the work, of the kind that is timed.
        reference: seconds that it takes on the machine that seconds are those of; by default here and now.
    """

    def __init__(self, yardstick: Callable[[], None], reference: float | None = None) -> None:
        self._yardstick = yardstick
        yardstick()  # makes caches
        self.reference = reference or self._seconds(5 * TIMES)

    def factor(self) -> float:
        """Return what a second of now is worth: below 1 while the machine is slow."""
        return self.reference / self._seconds(TIMES)

    def _seconds(self, times: int) -> float:
        return median(seconds_of(self._yardstick) for _ in range(times))

    def reference_seconds(self, work: Callable[[], None], times: int) -> float:
        """Return the reference machine's seconds of some work, which takes turns with the yardstick."""
        work()  # makes caches
        turns = [(seconds_of(self._yardstick), seconds_of(work)) for _ in range(times)]
        return self.reference * median(seconds / yard for yard, seconds in turns)


class Clock:
    """Seconds of the reference machine's processor since the clock was made; those of measuring its pace do not count.

    Args:
        seconds: that there are.
        pace: the machine's.
    """

    def __init__(self, seconds: float, pace: Pace) -> None:
        self.seconds = seconds
        self._pace = pace
        self._spent = 0.0
        self._factor = pace.factor()
        self._since = cpu_seconds()

    @property
    def spent(self) -> float:
        """Seconds gone."""
        passed = cpu_seconds() - self._since
        if passed < AGAIN:
            return self._spent + passed * self._factor
        factor = self._pace.factor()
        self._spent += passed * (self._factor + factor) / 2
        self._factor, self._since = factor, cpu_seconds()
        return self._spent

    def left(self, share: float = 1.0) -> float:
        """Return the seconds left of a share of all."""
        return share * self.seconds - self.spent


def seconds_of(work: Callable[[], None]) -> float:
    """Return the CPU seconds of some work."""
    start = cpu_seconds()
    work()
    return cpu_seconds() - start
