"""Counts a process's operations on the files of runs, and makes a chosen one fail."""

import errno
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from amc.store import durable_files

FAULTS = ("kill before", "kill after", "torn write", "disk full", "I/O error")
ERRORS = {"disk full": errno.ENOSPC, "I/O error": errno.EIO}


class Faults:
    """Which fault at which operation.

    Args:
        fault: of ``FAULTS``, or anything else for none.
        at: number of the operation, counted from 1.
    """

    def __init__(self, fault: str, at: int) -> None:
        self.fault = fault
        self.at = at
        self.seen = 0

    def around(self, operation: Callable[..., Any]) -> Callable[..., Any]:
        """Return an operation that is counted, and fails when it is its turn."""

        def faulty(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401  handed on
            self.seen += 1
            due = self.seen == self.at
            if due and self.fault in ERRORS:
                raise OSError(ERRORS[self.fault], os.strerror(ERRORS[self.fault]))
            if due and self.fault == "torn write" and operation is os.write:
                os.write(args[0], args[1][: len(args[1]) // 2])
            if due and self.fault in ("kill before", "torn write"):
                os.kill(os.getpid(), signal.SIGKILL)
            result = operation(*args, **kwargs)
            if due and self.fault == "kill after":
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return faulty


class _CountedOs:
    """The module ``os`` as ``amc.store.durable_files`` sees it."""

    def __init__(self, faults: Faults) -> None:
        self.open = faults.around(os.open)
        self.write = faults.around(os.write)
        self.fsync = faults.around(os.fsync)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        return getattr(os, name)


@contextmanager
def counting(faults: Faults) -> Iterator[None]:
    """Count, inside the block, what ``amc.store.durable_files`` and ``pathlib`` do to files."""
    replace, unlink, opened = Path.replace, Path.unlink, Path.open
    writing = faults.around(opened)

    def open_(path: Path, mode: str = "r", *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        return (writing if mode == "wb" else opened)(path, mode, *args, **kwargs)

    vars(durable_files).update(os=_CountedOs(faults))
    patched = {"replace": faults.around(replace), "unlink": faults.around(unlink), "open": open_}
    for name, operation in patched.items():
        setattr(Path, name, operation)
    try:
        yield
    finally:
        vars(durable_files).update(os=os)
        for name, before in (("replace", replace), ("unlink", unlink), ("open", opened)):
            setattr(Path, name, before)
