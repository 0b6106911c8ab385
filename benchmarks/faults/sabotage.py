"""Variants of this package that are broken on purpose: a protocol that they pass is worth nothing."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from amc.store import durable_files
from benchmarks.faults.replacing import everywhere


def write_in_place() -> None:
    """Break what keeps files whole: write over the old file, wait for no disk, keep lines back until there are three.

    A run that nobody disturbs comes to the same: it is the faults that must be noticed.
    """
    held: dict[Path, list[str]] = {}

    def flush() -> None:
        for path, lines in held.items():
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
            os.write(descriptor, "".join(lines).encode())
            os.close(descriptor)
        held.clear()

    def careless(path: Path, content: bytes | str) -> Path:
        flush()
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        os.write(descriptor, content.encode() if isinstance(content, str) else content)
        os.close(descriptor)
        return path

    def careless_lines(file: Any, content: dict[str, Any]) -> None:  # noqa: ANN401
        import json

        lines = held.setdefault(vars(file)["_path"], [])
        lines.append(json.dumps(content) + "\n")
        if len(lines) >= 3:  # as a buffer would
            flush()

    read = durable_files.read_file

    def read_behind(path: Path) -> bytes:
        flush()
        return read(path)

    everywhere("write_file", careless)
    everywhere("read_file", read_behind)
    line_file: Any = durable_files.LineFile
    line_file.append = careless_lines


def believe_everything() -> None:
    """Break what finds damage: every digest is right."""
    from amc.weights import tensor_file

    everywhere("parse_sealed", _believing_parse)
    everywhere("differing", lambda _: {})
    vars(tensor_file).update(_check_digest=lambda *_: None)


def ignore_errors() -> None:
    """Break what reports a full disk: whatever cannot be written is taken for written."""

    def hopeful(path: Path, content: bytes | str) -> Path:
        try:
            with path.open("wb", buffering=0) as file:
                os.write(file.fileno(), content.encode() if isinstance(content, str) else content)
        except OSError:
            return path
        return path

    everywhere("write_file", hopeful)


def check_nothing() -> None:
    """Break what checks a configuration at the door."""
    from amc.config import schema, validation
    from envs.engine import fields

    for module in (schema, fields):
        vars(module).update(check_settings=lambda _: None)
    everywhere("check_settings", lambda _: None)
    everywhere("validate", lambda _: None)
    vars(validation).update(_validate_search=lambda _: None)


def lock_nothing() -> None:
    """Break what keeps processes apart."""

    @contextmanager
    def alone(*_: object) -> Iterator[None]:
        yield

    everywhere("alone", alone)


def seed_nothing() -> None:
    """Break what makes a seed count: every process draws its own numbers."""
    import numpy as np
    import torch

    own = np.random.default_rng
    vars(np.random).update(default_rng=lambda _seed=None: own(os.getpid()))

    def unseeded(_: int) -> None:
        np.random.seed(os.getpid() % 2**32)  # noqa: NPY002
        torch.manual_seed(os.getpid())

    everywhere("seed_everything", unseeded)


def _believing_parse(kind: type[Any], text: str | bytes) -> Any:  # noqa: ANN401  a record
    import json

    from amc.store.digests import Read
    from amc.store.typed_records import parse

    return Read(parse(kind, json.dumps({k: v for k, v in json.loads(text).items() if k != "sha256"})), verified=False)
