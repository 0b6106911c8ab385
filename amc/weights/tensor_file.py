"""Safetensors files from outside: the only place that opens them, with one set of limits.

Files are data: sizes, names, shapes, types and finiteness are checked, and no code in them runs.
"""

import hashlib
import json
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from amc.config.checkpoint_paths import MAX_BYTES
from amc.store.digests import NOT_AS_WRITTEN
from envs.engine.errors import first_line

# Of the format: a length, a header of JSON of that length, and the values.
LENGTH_BYTES, ALIGNMENT, METADATA = 8, 8, "__metadata__"
DIGEST = "sha256"
"""Name in a file's metadata under which the digest of all else in it stands. Files of version 0.1 have none."""


def tensor_bytes(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes:
    """Return tensors on the CPU, contiguous and sharing no memory, as a safetensors file that carries its digest."""
    about = {**metadata, DIGEST: _digest(tensors, metadata)}
    content = safetensors.torch.save(dict(tensors), metadata=about)
    # The library writes metadata in any order; the same network is to be the same bytes.
    length = int.from_bytes(content[:LENGTH_BYTES], "little")
    header = json.loads(content[LENGTH_BYTES : LENGTH_BYTES + length])
    ordered = json.dumps({**header, METADATA: dict(sorted(about.items()))}, separators=(",", ":")).encode()
    ordered += b" " * (-len(ordered) % ALIGNMENT)
    return len(ordered).to_bytes(LENGTH_BYTES, "little") + ordered + content[LENGTH_BYTES + length :]


def read_metadata(path: Path, *, links: bool = True) -> Mapping[str, str]:
    """Return what a file says about itself, once its digest is right; see :func:`read_tensors` for the rest."""
    with _opened(path, links) as file:
        metadata = dict(file.metadata() or {})
        if DIGEST in metadata:
            _check_digest({name: file.get_tensor(name) for name in file.keys()}, metadata)  # noqa: SIM118  not a dict
        return metadata


def read_tensors(
    path: Path, wanted: Mapping[str, Tensor], *, pruned: bool = False, links: bool = True
) -> dict[str, Tensor]:
    """Read the tensors of a network, on the CPU; none of them shares memory with the file.

    Args:
        path: where the file is.
        wanted: the network's own, which say what to expect.
        pruned: whether those of the file may be smaller.
        links: whether the file may be a symbolic link, as a user's own may; in a folder from somebody else it could
            lead anywhere.

    Raises:
        OSError: there is no such file, or it cannot be read.
        ValueError: it is no regular file, is larger than any network, is damaged, or its tensors are not those of the
            network; one line says which.
    """
    with _opened(path, links) as file:
        _check_names(set(file.keys()), set(wanted))
        tensors = {}
        for name, like in wanted.items():
            mapped = file.get_tensor(name)
            _check_kind(name, mapped, like, pruned)
            # Cloned before its values are looked at: the file is mapped into memory, and may change or go.
            tensors[name] = mapped.clone()
        _check_digest(tensors, file.metadata() or {})
        return {name: _finite(name, tensor) for name, tensor in tensors.items()}


def tensor_names(path: Path) -> list[str]:
    """Return the names of a file's tensors.

    Raises:
        OSError: there is no such file, or it cannot be read.
        ValueError: it is no regular file, is larger than any network, or is damaged.
    """
    with _opened(path, links=True) as file:
        return list(file.keys())


def check_tensors(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> None:
    """Check that tensors are those of a network.

    Raises:
        ValueError: one is missing, too many, of another shape or type, or not finite.
    """
    _check_names(set(found), set(wanted))
    for name, tensor in found.items():
        if tensor.is_meta or tensor.layout is not torch.strided or tensor.is_quantized:
            kind = "no values" if tensor.is_meta else f"{str(tensor.layout).removeprefix('torch.')} or quantized values"
            raise ValueError(f"tensor {name!r} holds {kind}: save dense tensors, as model.state_dict() has them")
        _check_kind(name, tensor, wanted[name], pruned=False)
        _finite(name, tensor)


def _check_digest(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    about = dict(metadata)
    if about.pop(DIGEST, None) not in (None, _digest(tensors, about)):
        raise ValueError(NOT_AS_WRITTEN)


def _digest(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    """Return the SHA-256 of names, types, shapes and values, and of what the file says about itself."""
    digest = hashlib.sha256(json.dumps(sorted(metadata.items())).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


@contextmanager
def _opened(path: Path, links: bool) -> Iterator[Any]:
    status = path.stat() if links else path.lstat()
    # A pipe would block, and a device may never end.
    if not stat.S_ISREG(status.st_mode):
        raise ValueError("it is not a regular file")
    if status.st_size > MAX_BYTES:
        raise ValueError(f"it has {status.st_size} bytes, more than {MAX_BYTES}")
    try:
        with _named_in_utf8(path) as named, safe_open(named, framework="pt", device="cpu") as file:
            yield file
    except SafetensorError as error:
        raise ValueError(first_line(error)) from error


@contextmanager
def _named_in_utf8(path: Path) -> Iterator[Path]:
    """Yield a path by which safetensors opens a file: names that are no UTF-8, which Linux allows, it refuses."""
    if not any("\udc80" <= letter <= "\udcff" for letter in str(path)):
        yield path
        return
    with path.open("rb") as file:
        yield Path(f"/proc/self/fd/{file.fileno()}")


def _check_names(found: set[str], wanted: set[str]) -> None:
    if found != wanted:
        name = min(found ^ wanted)
        raise ValueError(f"tensor {name!r} is {'missing' if name in wanted else 'not part of the network'}")


def _check_kind(name: str, tensor: Tensor, like: Tensor, pruned: bool) -> None:
    """Check shape and type, which a file says of a tensor before its values are read."""
    if pruned and not _is_cut_from(tensor, like):
        shape, limit = list(tensor.shape), list(like.shape)
        raise ValueError(f"tensor {name!r} has shape {shape}, which is not cut from {limit}")
    if tensor.dtype != like.dtype or not (pruned or tensor.shape == like.shape):
        raise ValueError(f"tensor {name!r} is {_kind(tensor)}, the network's is {_kind(like)}")


def _finite(name: str, tensor: Tensor) -> Tensor:
    if not bool(torch.isfinite(tensor).all()):
        raise ValueError(f"tensor {name!r} holds values that are not finite")
    return tensor


def _is_cut_from(tensor: Tensor, dense: Tensor) -> bool:
    sizes = zip(tensor.shape, dense.shape, strict=False)
    return tensor.ndim == dense.ndim and all(1 <= size <= most for size, most in sizes)


def _kind(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"
