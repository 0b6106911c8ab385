"""Files that runtimes load, written from a pruned network and compared with it."""

import tempfile
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from amc.errors import ModelError
from amc.runtimes.onnx_template import differences
from amc.runtimes.prepared import EQUAL
from amc.runtimes.runtime import missing
from amc.weights.export import ONNX_FILE, PT2_FILE, WEIGHTS_FILE, onnx_bytes, pt2_bytes

INT8_FILE, OPENVINO_FILE = "pruned_int8.onnx", "pruned.xml"
FORMATS = ("onnx", "pt2", "safetensors", "openvino")
ONNX_SNIPPET = """\
import onnxruntime
session = onnxruntime.InferenceSession("{path}")
logits = session.run(None, {{"images": images}})[0]  # images: float32, {shape}, normalised"""
PT2_SNIPPET = """\
import torch
network = torch.export.load("{path}").module()
logits = network(images)  # images: float32, {shape}, normalised"""
OPENVINO_SNIPPET = """\
import openvino
network = openvino.Core().compile_model("{path}", "CPU")
logits = network([images])[0]  # images: float32, {shape}, normalised"""
WEIGHTS_SNIPPET = """\
import amc
network = amc.load("{path}")
logits = network(images)  # images: float32, {shape}, normalised"""
SNIPPETS = {
    ONNX_FILE: ONNX_SNIPPET,
    INT8_FILE: ONNX_SNIPPET,
    PT2_FILE: PT2_SNIPPET,
    OPENVINO_FILE: OPENVINO_SNIPPET,
    WEIGHTS_FILE: WEIGHTS_SNIPPET,
}
"""How every export is loaded, in three lines."""


class Exported(NamedTuple):
    """What an export wrote.

    Attributes:
        files: by name.
        difference: of its outputs from torch's, relative to the largest; ``None`` where nothing here can run it.
    """

    files: Mapping[str, bytes]
    difference: float | None

    @property
    def name(self) -> str:
        """The file to load."""
        return next(iter(self.files))


def export_network(network: nn.Module, wanted: str, example: Tensor) -> Exported:
    """Write a network in a format, and compare what it computes there with torch.

    Args:
        network: the pruned network, in eval mode on the CPU.
        wanted: ``onnx``, ``pt2`` or ``openvino``.
        example: inputs, shape ``(n, ...)``.

    Raises:
        ModelError: it cannot be written, or computes something else.
    """
    exported = EXPORTERS[wanted](network, example)
    # Where the outputs are no numbers, neither is their difference.
    if exported.difference is not None and not exported.difference <= EQUAL:
        raise ModelError(
            f"{exported.name}: its outputs differ from torch's by {exported.difference:.2g} of the largest"
        )
    return exported


def _onnx(network: nn.Module, example: Tensor) -> Exported:
    content = onnx_bytes(network, example)
    return Exported(
        {ONNX_FILE: content}, None if missing("onnxruntime-cpu") else differences(content, network, example)
    )


def _pt2(network: nn.Module, example: Tensor) -> Exported:
    content = pt2_bytes(network, example)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / PT2_FILE
        path.write_bytes(content)
        with warnings.catch_warnings():  # torch 2.11 warns of how it reads its own file
            warnings.filterwarnings("ignore", "The given buffer is not writable", UserWarning)
            again = torch.export.load(path).module()
    with torch.no_grad():
        found = again(example)
    return Exported({PT2_FILE: content}, _apart(found, network, example))


def _openvino(network: nn.Module, example: Tensor) -> Exported:
    if lack := missing("openvino"):
        raise ModelError(f"--format openvino needs {lack}")
    import openvino

    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / ONNX_FILE, Path(folder) / OPENVINO_FILE
        source.write_bytes(onnx_bytes(network, example))
        openvino.save_model(openvino.convert_model(str(source)), str(target), compress_to_fp16=False)
        compiled = openvino.Core().compile_model(str(target), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        found = torch.from_numpy(np.array(compiled([example.numpy()])[0]))
        weights = target.with_suffix(".bin")
        files = {target.name: target.read_bytes(), weights.name: weights.read_bytes()}
    return Exported(files, _apart(found, network, example))


EXPORTERS: dict[str, Callable[[nn.Module, Tensor], Exported]] = {"onnx": _onnx, "pt2": _pt2, "openvino": _openvino}


def _apart(found: Tensor, network: nn.Module, example: Tensor) -> float:
    with torch.inference_mode():
        expected = network(example)
    return float((found - expected).abs().max() / expected.abs().max().clamp_min(1e-6))


def loading_lines(path: Path, shape: tuple[int, ...]) -> str:
    """Return how an exported file is loaded, in three lines.

    Args:
        path: of the file.
        shape: of its input, without the batch.
    """
    return SNIPPETS[path.name].format(path=path, shape=f"(n, {', '.join(map(str, shape))})")
