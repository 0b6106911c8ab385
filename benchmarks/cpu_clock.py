"""The time that a method has."""

from time import process_time


def cpu_seconds() -> float:
    """Return the CPU seconds of this process so far: the one place that the study's times come from."""
    return process_time()


class Clock:
    """CPU seconds of this process: with one thread those of a quiet machine, whatever else runs on this one.

    Args:
        seconds: that there are.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._start = cpu_seconds()

    @property
    def spent(self) -> float:
        """Seconds gone."""
        return cpu_seconds() - self._start

    def left(self, share: float = 1.0) -> float:
        """Return the seconds left of a share of all."""
        return share * self.seconds - self.spent
