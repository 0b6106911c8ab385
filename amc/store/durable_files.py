"""Files that a kill at any moment leaves whole: the old one or the new one, or without its last line."""

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from amc.errors import RefusedInput, StorageError

MAX_BYTES = 1 << 30


def write_file(path: Path, content: bytes | str) -> Path:
    """Write a whole file so that a kill at any moment leaves the old one or the new one, and return its path.

    Folders are made where missing.

    Raises:
        StorageError: the disk is full, or the folder cannot be written.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        raise StorageError(f"{path}: cannot be written ({error.strerror})") from error
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
    return path


def append_line(path: Path, content: dict[str, Any]) -> None:
    """Append a line of JSON and wait for the disk.

    Raises:
        StorageError: the disk is full, or the folder cannot be written.
    """
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(content, allow_nan=False) + "\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise StorageError(f"{path}: cannot be written ({error.strerror})") from error


def read_file(path: Path) -> bytes:
    """Read a file of a run.

    Raises:
        RefusedInput: there is no such regular file, or it is larger than any file of a run.
    """
    if not path.is_file():
        raise RefusedInput(f"{path}: no such file; is this the folder of a finished run?")
    if path.stat().st_size > MAX_BYTES:
        raise RefusedInput(f"{path}: larger than {MAX_BYTES} bytes, no file of a run is")
    return path.read_bytes()


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
