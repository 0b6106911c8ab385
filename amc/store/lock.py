"""One process at a time: a lock that the operating system lets go when its holder dies, however it dies.

Where a file system has none, as a network's may, a lease stands in: a file that only one process can make, which its
holder touches while it lives, and which another takes over once it was not touched for a while.
"""

import logging
import os
import secrets
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from errno import ENOENT, ENOLCK, ENOSYS, EOPNOTSUPP
from pathlib import Path

from filelock import BaseFileLock, FileLock, SoftFileLease, Timeout

from amc.errors import StorageError

log = logging.getLogger(__name__)
LEASE_SECONDS = 60.0
"""After which a lease that nobody touched is taken over."""
SHARED = (
    *("9p", "afs", "beegfs", "ceph", "cifs", "fuse.", "gfs", "glusterfs", "gpfs", "lustre", "nfs", "ocfs", "orangefs"),
    *("panfs", "smb", "wekafs"),
)
"""How the kinds of file systems begin that several machines see."""
# What file systems without locks answer.
NO_LOCKS = {ENOLCK, ENOSYS, EOPNOTSUPP}


@contextmanager
def alone(path: Path, what: str) -> Iterator[None]:
    """Keep other processes that ask for the same lock waiting for as long as the context lasts.

    They may be on other machines, where the file system hands locks on to its server, as NFS does unless it is mounted
    with ``nolock`` or ``local_lock``. It saves doing work twice, and no more: a holder that was stopped for a minute
    comes back to a lease that another has.

    Args:
        path: of the lock's file, which is there only while somebody holds it, or died with it. On the file system of a
            network it stays: others would not see that it is gone, lock what once was it, and work at the same time.
        what: is done meanwhile, for the line that says that another process does it.

    Raises:
        StorageError: the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = _acquired(path, what)
    except OSError as error:
        raise StorageError(f"{path}: cannot be written ({error.strerror})") from error
    try:
        yield
    finally:
        # filelock leaves the file. Removed while it is held: who waits for it then sees that it is gone.
        if not _is_shared(path.parent):
            with suppress(OSError):
                path.unlink()
        lock.release()


def is_held(path: Path) -> bool:
    """Tell whether some process, maybe of another machine, holds the lock: for who looks on, and does not want it."""
    if sys.platform == "win32":
        return path.exists()
    import fcntl

    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError as error:
        if error.errno not in (ENOENT, *NO_LOCKS):
            return True  # it may not be opened: another user's
        lease = _lease(path)
        with suppress(OSError):
            return time.time() - lease.stat().st_mtime < LEASE_SECONDS
    return False


def _is_shared(folder: Path) -> bool:
    """Tell whether a folder is on the file system of a network, where it is known."""
    try:
        device = folder.stat().st_dev
        lines = Path("/proc/self/mountinfo").read_text().splitlines()
    except OSError:
        return False
    mounted = f" {os.major(device)}:{os.minor(device)} "
    kinds = {line.rpartition(" - ")[2].split()[0] for line in lines if mounted in line}
    return any(kind.startswith(SHARED) for kind in kinds)


def _lease(path: Path) -> Path:
    return path.with_name(f"{path.name}.lease")


def _acquired(path: Path, what: str) -> BaseFileLock:
    # Without locks filelock would wait for the file to go, which a killed holder on another machine never removes.
    lock = FileLock(path, fallback_to_soft=False)
    try:
        _acquire(lock, what)
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        log.info("%s: cannot be locked (%s); a lease stands in", path, error.strerror)
        return _leased(_lease(path), what)
    return lock


def _acquire(lock: BaseFileLock, what: str) -> None:
    try:
        lock.acquire(blocking=False)
    except Timeout:
        log.info("%s: another process is at it, waiting", what)
        lock.acquire()


def _leased(path: Path, what: str) -> BaseFileLock:
    lease = SoftFileLease(path, lease_duration=LEASE_SECONDS)
    seen, since, waiting = None, time.monotonic(), False
    while True:
        try:
            lease.acquire(timeout=LEASE_SECONDS / 10)
        except Timeout:
            if not waiting:
                log.info("%s: another process is at it, waiting", what)
            waiting = True
        else:
            return lease
        touched = _touched(path)
        if touched != seen:
            seen, since = touched, time.monotonic()
        elif seen is not None and time.monotonic() - since >= LEASE_SECONDS:
            _take_away(path, seen)


def _touched(path: Path) -> tuple[int, int] | None:
    """Return which file there is and when it was touched, by the clock of its machine; opened, NFS asks its server."""
    try:
        with path.open("rb") as file:
            found = os.fstat(file.fileno())
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


def _take_away(path: Path, seen: tuple[int, int]) -> None:
    """Remove a lease that its holder does not touch: filelock does so where names can be exchanged, not on NFS."""
    aside = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    with suppress(OSError):
        path.rename(aside)
        if _touched(aside) != seen:  # another process was faster, and this is its own
            os.link(aside, path)
    with suppress(OSError):
        aside.unlink()
