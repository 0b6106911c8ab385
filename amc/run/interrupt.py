"""Ctrl-C and SIGTERM during a search: end it after the running episode and go on with what was found."""

import os
import signal
from contextlib import AbstractContextManager, suppress
from types import FrameType
from typing import Any, Self

from envs.search import Trial

SIGNALS = (signal.SIGINT, signal.SIGTERM)
NOTICE = b"\nstopping after this episode; once more stops at once\n"
STDERR = 2


class SearchStopped(Exception):
    """The user asked for an end; every trial so far is recorded."""


class StopOnSignal(AbstractContextManager["StopOnSignal"]):
    """A sink of ``RecordTrials``, the last, that raises ``SearchStopped`` behind the episode in which a signal came.

    A second signal raises ``KeyboardInterrupt`` at once. Outside the context signals act as before.
    """

    def __init__(self) -> None:
        self.asked = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        self._before = {number: signal.signal(number, self._ask) for number in SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def __call__(self, trial: Trial) -> None:
        """End the search if that was asked for.

        Raises:
            SearchStopped: it was.
        """
        if self.asked:
            raise SearchStopped(f"stopped after {trial.index + 1} trials")

    def _ask(self, _number: int, _frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
        # Not by logging or print: the signal may have come while one of them holds its lock. A terminal that is gone
        # hears nothing, and the search ends as it should.
        with suppress(OSError):
            os.write(STDERR, NOTICE)
