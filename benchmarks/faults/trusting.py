"""Variants of this package that trust strangers' files: what reads a kind of them checks nothing any more."""

import json
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import is_dataclass
from functools import partial
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from benchmarks.faults.replacing import everywhere


def load_anything() -> None:
    """Break what keeps strangers' files from running code, and from taking all memory and time."""
    _trust_checkpoints()
    _trust_images()
    _trust_run_folders()


def _trust_checkpoints() -> None:
    """Load pickles with the code in them, and archives that unpack to more than they are."""
    import torch

    from amc.weights import checkpoint

    load = torch.load

    def trusting(path: Path, **_: object) -> Any:  # noqa: ANN401
        return load(path, weights_only=False)

    vars(torch).update(load=trusting)
    vars(checkpoint).update(_check_archive=lambda *_: None)


def _trust_images() -> None:
    """Open whatever is called an image, of any format and size, as Pillow does it."""
    from PIL import Image

    from amc.zoo.data import image_file

    open_any = Image.open
    vars(Image).update(open=lambda file, *_, **__: open_any(file), MAX_IMAGE_PIXELS=None)
    vars(image_file).update(_regular_file=Path.read_bytes, time_limit=lambda _: nullcontext())


def _trust_run_folders() -> None:
    """Follow links, read pipes, believe every number and every size, and show every name as it is."""
    import jinja2
    from safetensors import SafetensorError, safe_open

    from amc.report import html
    from amc.weights import allocation, metadata, tensor_file

    @contextmanager
    def opened(path: Path, links: bool) -> Iterator[Any]:
        del links
        try:
            with path.open("rb"), safe_open(path, framework="pt", device="cpu") as file:
                yield file
        except SafetensorError as error:
            raise ValueError(str(error)) from error

    everywhere("read_file", Path.read_bytes)
    everywhere("parse", _believing)
    everywhere("printable", lambda name, _longest=0, **__: str(name))
    everywhere("printable_line", str)
    vars(tensor_file).update(_opened=opened)
    vars(metadata).update(_check=lambda _: None)
    limit: Any = allocation.AllocationLimit
    limit._check = lambda *_: None
    vars(html).update(Environment=partial(_unescaping, jinja2.Environment))


def _unescaping(environment: Any, **settings: object) -> Any:  # noqa: ANN401  of jinja2
    return environment(**{**settings, "autoescape": False})


def _believing(kind: Any, text: str | bytes, **_: object) -> Any:  # noqa: ANN401  any record
    """Build a record of JSON without a look at what it holds."""
    return _built(kind, json.loads(text))


def _built(kind: Any, value: Any) -> Any:  # noqa: ANN401
    kinds = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
    record = next((each for each in kinds if is_dataclass(each) or hasattr(each, "_fields")), None)
    inner = get_args(kinds[0])
    if isinstance(value, list) and hasattr(record, "_fields"):
        return record(*map(_built, get_type_hints(record).values(), value))  # type: ignore[misc]
    if isinstance(value, dict) and record is not None:
        hints = get_type_hints(record)
        return record(**{name: _built(hints[name], each) for name, each in value.items() if name in hints})
    if isinstance(value, dict):
        return {name: _built(inner[-1] if inner else object, each) for name, each in value.items()}
    return tuple(_built(inner[0] if inner else object, each) for each in value) if isinstance(value, list) else value
