"""Variants of this package that are broken on purpose: a protocol that they pass is worth nothing."""

import json
import os
import sys
from pathlib import Path
from typing import Any

from amc.store import durable_files


def write_in_place() -> None:
    """Break what keeps files whole: write over the old file instead of beside it, and wait for no disk."""

    def careless(path: Path, content: bytes | str) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        opener = vars(durable_files)["os"]  # the one that is counted
        descriptor = opener.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        opener.write(descriptor, content.encode() if isinstance(content, str) else content)
        os.close(descriptor)
        return path

    for module in list(sys.modules.values()):
        if getattr(module, "write_file", None) is durable_files.write_file and module is not durable_files:
            vars(module).update(write_file=careless)


def believe_everything() -> None:
    """Break what finds damage: every digest is right."""
    from amc.run import publish
    from amc.store import digests
    from amc.weights import tensor_file, verification

    vars(digests).update(parse_sealed=_believing_parse)
    for module in list(sys.modules.values()):
        if module is not digests and "parse_sealed" in vars(module):
            vars(module).update(parse_sealed=_believing_parse)
    vars(tensor_file).update(_check_digest=lambda *_: None)
    for module in (verification, publish):
        vars(module).update(differing=lambda _: None)


def _believing_parse(kind: type[Any], text: str | bytes) -> Any:  # noqa: ANN401  a record
    from amc.store.digests import Read
    from amc.store.typed_records import parse

    return Read(parse(kind, json.dumps({k: v for k, v in json.loads(text).items() if k != "sha256"})), verified=False)
