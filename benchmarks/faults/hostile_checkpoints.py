"""Checkpoints that are no trained network: pickles that run code, and tensors that are none."""

import io
import json
import os
import pickle
import subprocess
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.faults import tiny


class _Bomb:
    """Runs code when it is unpickled."""

    def __init__(self, call: Callable[..., Any], *arguments: Any) -> None:  # noqa: ANN401
        self._call = (call, arguments)

    def __reduce__(self) -> tuple[Any, ...]:
        return self._call


def _bombs(path: Path) -> dict[str, _Bomb]:
    canary = str(path.parent / "canary")
    return {
        "os.system": _Bomb(os.system, f"touch {canary}"),
        "open": _Bomb(open, canary, "w"),
        "exec": _Bomb(exec, f"open({canary!r}, 'w')"),
        "eval": _Bomb(eval, f"open({canary!r}, 'w')"),
        "Popen": _Bomb(subprocess.Popen, ["touch", canary]),
        "mkdir": _Bomb(os.mkdir, canary),
    }


def _state() -> dict[str, Tensor]:
    return tiny.net().state_dict()


def honest_checkpoint(path: Path) -> None:
    """Write a trained network as torch writes it."""
    torch.save(_state(), path)


def _bomb(bomb: str, how: str, path: Path) -> None:
    found: Any = _bombs(path)[bomb]
    content = {**_state(), "extra": found}
    if how == "zip":
        torch.save(content, path)
    elif how == "legacy":
        torch.save(content, path, _use_new_zipfile_serialization=False)
    elif how == "pickle":
        path.write_bytes(pickle.dumps(content, protocol=2))
    elif how == "alone":
        path.write_bytes(pickle.dumps(found))
    elif how == "module":
        network = tiny.net()
        network.bomb = found
        torch.save(network, path)
    else:  # under the name of a format without code
        path.with_suffix(".safetensors").write_bytes(pickle.dumps(content))


def _changed(change: Callable[[dict[str, Any]], Any], path: Path) -> None:
    state: dict[str, Any] = _state()
    found = change(state)
    torch.save(state if found is None else found, path)


def _set(value: Callable[[Tensor], Any], state: dict[str, Any]) -> None:
    state["0.weight"] = value(state["0.weight"])


def _header(header: bytes, body: bytes, length: int | None, path: Path) -> None:
    size = len(header) if length is None else length
    path.with_suffix(".safetensors").write_bytes(size.to_bytes(8, "little") + header + body)


def _json(content: object, body: bytes = b"") -> Callable[[Path], None]:
    return partial(_header, json.dumps(content).encode(), body, None)


def _tensor(**fields: object) -> dict[str, object]:
    return {"0.weight": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4], **fields}}


def _archive(size: int, path: Path) -> None:
    whole = io.BytesIO()
    torch.save(_state(), whole)
    with zipfile.ZipFile(whole) as before, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as after:
        for entry in before.infolist():
            after.writestr(entry.filename, before.read(entry))
        after.writestr("archive/data/0", bytes(size))


def _cut(part: float, path: Path) -> None:
    torch.save(_state(), path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * part)])


def _text(path: Path) -> None:
    path.write_text("import os; os.mkdir('canary')")


def _recursive(state: dict[str, Any]) -> None:
    state["0.weight"] = state


CHECKPOINTS: dict[str, Callable[[Path], None]] = {
    **{
        f"{bomb} in {how}": partial(_bomb, bomb, how)
        for bomb in ("os.system", "open", "exec", "eval", "Popen", "mkdir")
        for how in ("zip", "legacy", "pickle", "alone", "module", "safetensors")
    },
    "sparse": partial(_changed, partial(_set, lambda tensor: tensor.to_sparse())),
    "meta": partial(_changed, partial(_set, lambda tensor: tensor.to("meta"))),
    "quantized": partial(
        _changed, partial(_set, lambda tensor: torch.quantize_per_tensor(tensor, 0.1, 0, torch.qint8))
    ),
    "complex": partial(_changed, partial(_set, lambda tensor: tensor.to(torch.complex64))),
    "NaN": partial(_changed, partial(_set, lambda tensor: tensor * float("nan"))),
    "infinite": partial(_changed, partial(_set, lambda tensor: tensor / 0)),
    "expanded": partial(_changed, partial(_set, lambda _: torch.zeros(1).expand(1 << 33))),
    "a string": partial(_changed, partial(_set, lambda _: "weights")),
    "numbers for names": partial(_changed, lambda state: dict(enumerate(state.values()))),
    "holds itself": partial(_changed, _recursive),
    "a list": partial(_changed, lambda state: list(state.values())),
    "unpacks to 64 MB": partial(_archive, 1 << 26),
    "cut at a half": partial(_cut, 0.5),
    "cut near the end": partial(_cut, 0.99),
    "empty": lambda path: path.touch(),
    "a folder": lambda path: path.mkdir(),
    "a pipe": lambda path: os.mkfifo(path),
    "a device": lambda path: path.symlink_to("/dev/zero"),
    "a loop of links": lambda path: path.symlink_to(path),
    "text": _text,
    "header longer than the file": partial(_header, b"{}", b"", 1 << 40),
    "header of all bytes": partial(_header, b"{}", b"", (1 << 64) - 1),
    "deep JSON": partial(_header, b"[" * 100_000, b"", None),
    "offsets behind the end": _json(_tensor(data_offsets=[0, 1 << 40])),
    "offsets backwards": _json(_tensor(data_offsets=[4, 0])),
    "negative shape": _json(_tensor(shape=[-1])),
    "overflowing shape": _json(_tensor(shape=[1 << 62, 1 << 62])),
    "unknown type": _json(_tensor(dtype="F1024")),
    "no tensors": _json({}),
}
"""By name, what writes such a file, or something else in its place."""
