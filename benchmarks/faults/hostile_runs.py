"""Run folders that nobody's run has left."""

import json
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

from amc.store.digests import sealed
from amc.weights.tensor_file import tensor_bytes

MARKUP = "</script><script>alert(1)</script>"


def _result(change: dict[str, Any], folder: Path) -> None:
    content = json.loads((folder / "result.json").read_text())
    content.pop("sha256")
    _write(folder / "result.json", {**content, **change})


def _write(path: Path, content: dict[str, Any]) -> None:
    try:
        path.write_text(json.dumps(sealed(content)))
    except ValueError:  # no number that JSON has
        path.write_text(json.dumps(content))


def _raw(name: str, content: bytes, folder: Path) -> None:
    (folder / name).write_bytes(content)


def _instead(name: str, make: Callable[[Path], object], folder: Path) -> None:
    (folder / name).unlink()
    make(folder / name)


def _weights(header: dict[str, Any], folder: Path) -> None:
    about = {"format": 1, "input_shape": [1, 1, 8, 8], "model": None, "mean": [], "std": [], "counts": {}, **header}
    tensors = {"weight": torch.zeros(4, 4), "bias": torch.zeros(4)}
    (folder / "pruned.safetensors").write_bytes(tensor_bytes(tensors, {"amc": json.dumps(about)}))


def _zoo(**fields: object) -> Callable[[Path], None]:
    model = {"factory": "mobilenet", "num_classes": 10, "in_channels": 1, "width": 1.0, **fields}
    return partial(_weights, {"model": model})


def _trial(line: dict[str, Any], folder: Path) -> None:
    whole = {
        "index": 0,
        "reward": 0.5,
        "feasible": True,
        "strategy": [0.5],
        "evaluation": {"metric": 0.5, "loss": 1.0, "n_samples": 10},
        "cost": {"flops": 1.0, "params": 1.0},
        **line,
    }
    (folder / "trials.jsonl").write_text(json.dumps(whole) + "\n")


RUN_FOLDERS: dict[str, Callable[[Path], None]] = {
    "network 16 times as wide": _zoo(width=16.0),
    "a million classes": _zoo(num_classes=1 << 20),
    "4,096 channels": _zoo(in_channels=1 << 12),
    "a path for a network": _zoo(factory="../../etc/passwd"),
    "a module for a network": _zoo(factory="os/system"),
    "a package's network that is none": _zoo(factory="timm/__import__"),
    "infinite width": _zoo(width=1e400),
    "input of 4 million": partial(_weights, {"input_shape": [1 << 22, 1]}),
    "input of 20 dimensions": partial(_weights, {"input_shape": [2] * 20}),
    "counts of nothing": partial(_weights, {"counts": {"__class__.__init__": 1}}),
    "deviation zero": partial(_weights, {"mean": [0.0], "std": [0.0]}),
    "markup for a name": partial(_result, {"model": MARKUP, "data": MARKUP, "policy": MARKUP}),
    "control bytes for a name": partial(_result, {"model": "\x1b]0;title\x07\x1b[2J", "policy": "a\nb"}),
    "a path for a name": partial(_result, {"model": "../../x", "policy": "/etc/passwd"}),
    "a name of a megabyte": partial(_result, {"model": "x" * (1 << 20)}),
    "infinite target": partial(_result, {"target": float("inf")}),
    "trials beyond 64 bits": partial(_result, {"trials": 1 << 80}),
    "a million trials": partial(_result, {"trials": 1_000_000}),
    "settings of a million": partial(_result, {"settings": {str(number): number for number in range(100_000)}}),
    "schema of tomorrow": partial(_result, {"schema": 99}),
    "schema of markup": partial(_result, {"schema": MARKUP}),
    "a version of markup": partial(_result, {"versions": {MARKUP: MARKUP}}),
    "deep result": partial(_raw, "result.json", b'{"schema": ' + b"[" * 100_000),
    "an endless number": partial(_raw, "result.json", b'{"schema": ' + b"9" * 1_000_000 + b"}"),
    "no UTF-8": partial(_raw, "result.json", b"\xff\xfe\x00"),
    "a trial of 1e308": partial(_trial, {"reward": 1e308}),
    "a trial of NaN": partial(_trial, {"reward": float("nan")}),
    "a trial of a million layers": partial(_trial, {"strategy": [0.5] * 1_000_000}),
    "a trial of minus one": partial(_trial, {"index": -1}),
    "trials without a newline": partial(_raw, "trials.jsonl", b"x" * (1 << 24)),
    "trials from a device": partial(_instead, "trials.jsonl", lambda path: path.symlink_to("/dev/zero")),
    "trials from a pipe": partial(_instead, "trials.jsonl", os.mkfifo),
    "weights from a pipe": partial(_instead, "pruned.safetensors", os.mkfifo),
    "weights from elsewhere": partial(_instead, "pruned.safetensors", lambda path: path.symlink_to("/etc/passwd")),
    "result from a folder": partial(_instead, "result.json", lambda path: path.mkdir()),
    "checksums of elsewhere": partial(_raw, "SHA256SUMS", b"0" * 64 + b"  ../../../../etc/passwd\n"),
    "checksums of noise": partial(_raw, "SHA256SUMS", bytes(range(256)) * 100),
}
"""By name, what makes such a folder of an honest one."""
