"""Standard output that may go while a search runs: its terminal is closed, its disk is full, its reader has ended."""

import os
import sys
from contextlib import suppress
from typing import IO, Any


class LastingOutput:
    """A stream that drops what can no longer be written, and says so once on stderr: what matters is in files.

    Args:
        stream: text; all but writing and flushing is its own.
        called: its name in messages.
    """

    def __init__(self, stream: IO[str], called: str) -> None:
        self._stream = stream
        self._called = called
        self._lost = False

    def write(self, text: str) -> int:
        """Write, or drop what cannot be written."""
        try:
            return len(text) if self._lost else self._stream.write(text)
        except OSError as error:
            self._lose(error)
            return len(text)

    def flush(self) -> None:
        """Flush, or drop what cannot be written."""
        try:
            if not self._lost:
                self._stream.flush()
        except OSError as error:
            self._lose(error)

    def _lose(self, error: OSError) -> None:
        self._lost = True
        # What is still held would be tried again at the end of the process, which would then fail.
        with suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)
        with suppress(OSError):
            said = f"{self._called} cannot be written ({error.strerror}): going on; the log is in the run's folder"
            print(said, file=sys.stderr)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  of the stream
        return getattr(self._stream, name)


def keep_on_without(name: str) -> None:
    """Let nothing in this process end because a stream cannot be written.

    Args:
        name: stdout or stderr.
    """
    stream = getattr(sys, name)
    if stream is not None and not isinstance(stream, LastingOutput):
        setattr(sys, name, LastingOutput(stream, name))
