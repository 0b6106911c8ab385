"""One process at a time: a lock that the operating system lets go when its holder dies, however it dies."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from errno import ENOLCK, ENOSYS, EOPNOTSUPP
from pathlib import Path

from filelock import FileLock, Timeout

from amc.errors import StorageError

log = logging.getLogger(__name__)
# What file systems without locks answer.
NO_LOCKS = {ENOLCK, ENOSYS, EOPNOTSUPP}


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
    # Without locks filelock would wait for the file to go, which a killed holder never removes.
    lock = FileLock(path, fallback_to_soft=False)
    _acquire(lock, path, what)
    try:
        yield
    finally:
        if lock.is_locked:
            # filelock leaves the file. Removed while it is held: who waits for it then sees that it is gone.
            with suppress(OSError):
                path.unlink()
            lock.release()


def _acquire(lock: FileLock, path: Path, what: str) -> None:
    """Wait for the lock; it is not held on return where there are no locks."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(blocking=False)
        except Timeout:
            log.info("%s: another process is at it, waiting", what)
            lock.acquire()
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise StorageError(f"{path}: cannot be written ({error.strerror})") from error
        log.warning("%s: cannot be locked (%s); another process may do the same work", path, error.strerror)
