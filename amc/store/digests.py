"""What tells damage: digests that stand in the content itself, so that a file cannot be parted from its own.

A flipped bit or a changed digit is found when the file is read. It is no protection against forgery. Files of version
0.1 carry none; they are read, and count as not verified.

The last file of a run, ``SHA256SUMS``, holds a digest of every other: with it the run is finished. Its format is that
of ``sha256sum``, so ``sha256sum -c SHA256SUMS`` verifies a folder where this package is not.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from amc.errors import RefusedInput
from amc.store.durable_files import file_digest, read_file, write_file
from amc.store.run_folders import stage_folders
from amc.store.typed_records import parse

Kind = TypeVar("Kind")
KEY = "sha256"
LENGTH = 32
"""Hexadecimal digits of a digest: half of SHA-256, far more than damage could meet by chance."""
NOT_AS_WRITTEN = "its content is not what was written: it was damaged or changed"
CHECKSUMS = "SHA256SUMS"
SUFFIXES = {".bin", ".html", ".json", ".jsonl", ".onnx", ".png", ".pt2", ".safetensors", ".xml"}
_LINE = re.compile(r"([0-9a-f]{64})  (.+)")


class Read(NamedTuple):
    """A record as read, and whether a digest vouched for it."""

    record: Any
    verified: bool


def sealed(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return a JSON object with its digest."""
    as_read = json.loads(json.dumps(content, allow_nan=False))
    return {**content, KEY: _digest(as_read)}


def parse_sealed(kind: type[Kind], text: str | bytes) -> Read:
    """Build a record from a JSON object that may carry its digest.

    Raises:
        ValueError: it is no such record, or not what was written; one line says why.
    """
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        return Read(parse(kind, text), verified=False)  # which says what is wrong
    claimed = content.pop(KEY, None) if isinstance(content, dict) else None
    if claimed is None:
        return Read(parse(kind, text), verified=False)
    record = parse(kind, json.dumps(content))
    if claimed != _digest(content):
        raise ValueError(NOT_AS_WRITTEN)
    return Read(record, verified=True)


def files_of(folder: Path) -> Iterator[str]:
    """Yield the names of a run's files, those of its earlier stages included, in alphabetical order."""
    for where in (folder, *stage_folders(folder)):
        for path in sorted(where.iterdir()):
            if path.suffix in SUFFIXES and not path.name.startswith(".") and path.is_file() and not path.is_symlink():
                yield str(path.relative_to(folder))


def write_checksums(folder: Path) -> Path:
    """Write down what all files of a run are now; from then on the run is finished.

    Raises:
        StorageError: the folder cannot be written.
    """
    return _write_down(folder, {name: file_digest(folder / name) for name in files_of(folder)})


def add_checksums(folder: Path, names: Iterable[str]) -> None:
    """Write down what some files of a finished run are now, and leave what is known of the others: they may be damaged.

    Args:
        folder: of the run; where it is not finished, nothing is done.
        names: of files that were just written.

    Raises:
        RefusedInput: the checksums are damaged.
        StorageError: the folder cannot be written.
    """
    if (folder / CHECKSUMS).exists():
        _write_down(folder, read_checksums(folder) | {name: file_digest(folder / name) for name in names})


def read_checksums(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file of a finished run, as it was written.

    Raises:
        RefusedInput: the file that holds them is missing or damaged.
    """
    written = {}
    for line in read_file(folder / CHECKSUMS).decode(errors="replace").splitlines():
        match = _LINE.fullmatch(line)
        if match is None:
            raise RefusedInput(f"{folder / CHECKSUMS}: is damaged")
        written[match[2]] = match[1]
    return written


def _write_down(folder: Path, digests: Mapping[str, str]) -> Path:
    return write_file(folder / CHECKSUMS, "".join(f"{digests[name]}  {name}\n" for name in sorted(digests)))


def differing(folder: Path) -> dict[str, str] | None:
    """Return which files are missing or not what was written, and which of the two; ``None`` without checksums.

    Raises:
        RefusedInput: the checksums are damaged.
    """
    if not (folder / CHECKSUMS).exists():
        return None
    there = set(files_of(folder))
    found = {}
    for name, digest in read_checksums(folder).items():
        if name not in there:
            found[name] = "is missing"
        elif file_digest(folder / name) != digest:
            found[name] = NOT_AS_WRITTEN
    return found


def _digest(content: object) -> str:
    plain = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(plain.encode()).hexdigest()[:LENGTH]
