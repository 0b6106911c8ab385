"""One process at a time: a lock that the operating system lets go when its holder dies, however it dies."""

import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from amc.errors import StorageError

log = logging.getLogger(__name__)


@contextmanager
def alone(path: Path, what: str) -> Iterator[None]:
    """Keep other processes of this machine that ask for the same lock waiting for as long as the context lasts.

    It saves doing work twice, and no more: on a file system without locks a warning says so, and nobody waits.

    Args:
        path: of the lock's file, which is there only while somebody holds it, or died with it.
        what: is done meanwhile, for the line that says that another process does it.

    Raises:
        StorageError: the file cannot be written.
    """
    descriptor = _lock(path, what)
    while descriptor is not None and not _is_file_at(path, descriptor):
        # The holder before has removed the file that was waited for, and others may hold a new one.
        os.close(descriptor)
        descriptor = _lock(path, what)
    try:
        yield
    finally:
        if descriptor is not None:
            # While the lock is held: whoever waits for this file then sees that it is gone.
            with suppress(OSError):
                path.unlink()
            os.close(descriptor)


def _lock(path: Path, what: str) -> int | None:
    """Return the open and locked file; none where there are no locks."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise StorageError(f"{path}: cannot be written ({error.strerror})") from error
    try:
        _wait_for(descriptor, what)
    except OSError as error:
        os.close(descriptor)
        log.warning("%s: cannot be locked (%s); another process may do the same work", path, error.strerror)
        return None
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _wait_for(descriptor: int, what: str) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        log.info("%s: another process is at it, waiting", what)
        fcntl.flock(descriptor, fcntl.LOCK_EX)


def _is_file_at(path: Path, descriptor: int) -> bool:
    with suppress(FileNotFoundError):
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    return False
