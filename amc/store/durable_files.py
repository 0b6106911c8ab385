"""Files that a kill at any moment leaves whole: the old one or the new one, or without its last line."""

import hashlib
import json
import logging
import os
import sys
import weakref
from collections.abc import Callable
from contextlib import suppress
from errno import ESTALE
from pathlib import Path
from typing import Any, TypeVar

from amc.errors import RefusedInput, StorageError

log = logging.getLogger(__name__)

MAX_BYTES = 1 << 30
STALE_READS = 20
Content = TypeVar("Content")


def write_file(path: Path, content: bytes | str) -> Path:
    """Write a whole file so that a kill at any moment leaves the old one or the new one, and return its path.

    Folders are made where missing.

    Raises:
        StorageError: the disk is full, or the folder cannot be written.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        make_folder(path.parent)
        _write_new(partial, content.encode() if isinstance(content, str) else content)
        partial.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        raise StorageError(f"{path}: cannot be written ({error.strerror})") from error
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
    return path


def make_folder(folder: Path) -> None:
    """Make a folder, and those above it, so that they are there after a power failure, too.

    Raises:
        OSError: it cannot be made.
    """
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    sync_folder(folder.parent)


def sync_way_to(folder: Path) -> None:
    """Wait until a folder that somebody else has made, and those above it, are there after a power failure, too.

    Those that this process may not read are left out: they are older than it.
    """
    for above in folder.absolute().parents:
        with suppress(OSError):
            sync_folder(above)


def _write_new(path: Path, content: bytes) -> None:
    """Write a file and wait for the disk."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    try:
        _write(descriptor, content)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class LineFile:
    """A file that grows by lines of JSON, each on disk before the next is asked for.

    It is held open while it grows. Deleted or replaced meanwhile, it is put back whole, from what is still held.

    Args:
        path: of the file; made with the first line.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None
        self._size = 0

    def append(self, content: dict[str, Any]) -> None:
        """Append a line and wait for the disk.

        Raises:
            StorageError: the disk is full, the folder cannot be written, or somebody else has written to the file.
        """
        line = (json.dumps(content, allow_nan=False) + "\n").encode()
        try:
            descriptor = self._held()
            _write(descriptor, line)
            os.fsync(descriptor)
        except OSError as error:
            raise StorageError(f"{self._path}: cannot be written ({error.strerror})") from error
        self._size += len(line)

    def _held(self) -> int:
        """Return the open file, once it is known to be the one that lies there."""
        if self._descriptor is None:
            return self._open()
        held, there = os.fstat(self._descriptor), None
        with suppress(FileNotFoundError):
            there = self._path.stat()
        if held.st_size != self._size:
            raise StorageError(
                f"{self._path}: was changed by somebody else; the same command goes on from what is left"
            )
        if there is not None and os.path.samestat(held, there):
            return self._descriptor
        log.warning("%s was removed or replaced while it grew: it is put back", self._path)
        content = os.pread(self._descriptor, self._size, 0)
        write_file(self._path, content)
        return self._open()

    def _open(self) -> int:
        descriptor = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        sync_folder(self._path.parent)
        weakref.finalize(self, os.close, descriptor)
        self._descriptor, self._size = descriptor, os.fstat(descriptor).st_size
        return descriptor


def _write(descriptor: int, content: bytes) -> None:
    while content:
        content = content[os.write(descriptor, content) :]


def remove_partial_files(folder: Path, of: str = "*", *, alone: bool = True) -> None:
    """Remove what processes that died in the middle of writing have left.

    Args:
        folder: where.
        of: the name of the file that was to be written; of any by default.
        alone: whether nobody else may be writing there. Otherwise what a living process of this machine writes, stays.

    Raises:
        StorageError: a file cannot be removed.
    """
    for path in folder.glob(f".{of}.*.part"):
        writer = path.name.split(".")[-2]
        if not alone and writer.isdecimal() and _is_alive(int(writer)):
            continue
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise StorageError(f"{path}: cannot be removed ({error.strerror})") from error


def _is_alive(process: int) -> bool:
    if sys.platform == "win32":  # where asking would interrupt it
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # another user's
        return True
    return True


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file as hexadecimal digits, read in parts."""

    def digest() -> str:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    return _not_stale(digest)


def read_file(path: Path) -> bytes:
    """Read a file of a run.

    Raises:
        RefusedInput: there is no such regular file, or it is larger than any file of a run.
    """
    if not path.is_file():
        raise RefusedInput(f"{path}: no such file; is this the folder of a finished run?")
    if path.stat().st_size > MAX_BYTES:
        raise RefusedInput(f"{path}: larger than {MAX_BYTES} bytes, no file of a run is")
    return _not_stale(path.read_bytes)


def _not_stale(read: Callable[[], Content]) -> Content:
    """Read once more what another machine replaced while it was being read: NFS 3 forgets the old file."""
    for _ in range(STALE_READS):
        try:
            return read()
        except OSError as error:
            if error.errno != ESTALE:
                raise
    return read()


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on disk.

    Raises:
        OSError: it is no folder, or cannot be read.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
