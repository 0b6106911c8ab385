"""The time that a method has."""

from time import process_time


class Clock:
    """CPU seconds of this process: with one thread those of a quiet machine, whatever else runs on this one.

    Args:
        seconds: that there are.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._start = process_time()

    @property
    def spent(self) -> float:
        """Seconds gone."""
        return process_time() - self._start

    def left(self, share: float = 1.0) -> float:
        """Return the seconds left of a share of all."""
        return share * self.seconds - self.spent
