"""Networks made ready in a runtime: something to call, and the bytes that would be shipped."""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from amc.errors import ModelError
from amc.measurement.on_device import CPU, open_session
from amc.runtimes.onnx_template import OnnxTemplate, differences
from amc.runtimes.runtime import TENSORRT
from amc.weights.export import onnx_bytes

EQUAL = 1e-4
"""Largest difference between a runtime's outputs and torch's, relative to the largest output."""


class Prepared(NamedTuple):
    """A network in a runtime.

    Attributes:
        run: takes a batch of images, and returns when it is done.
        file_bytes: size of the file that the runtime loads; 0 where there is none.
    """

    run: Callable[[Tensor], object]
    file_bytes: int = 0


class OnnxFiles:
    """ONNX files of networks that were cut from one another, each compared with torch.

    Args:
        dense: the network that the others were cut from, as it is run.
        example: an input, shape ``(1, ...)``.
    """

    def __init__(self, dense: nn.Module, example: Tensor) -> None:
        self.template = OnnxTemplate(on_cpu(dense), example.cpu())
        self._example = example.cpu()

    def of(self, network: nn.Module) -> bytes:
        """Return a network's file.

        Raises:
            ModelError: onnxruntime computes something else than torch.
        """
        network = on_cpu(network)
        images = torch.cat([self._example, self._example.flip(-1)])
        try:
            content = self.template.filled(network)
            if differences(content, network, images) <= EQUAL:
                return content
        except Exception:  # noqa: S110  whatever onnxruntime raises where the graph knew the old shapes
            pass
        content = onnx_bytes(network, self._example)
        difference = differences(content, network, images)
        if not difference <= EQUAL:
            raise ModelError(f"the ONNX file of {type(network).__name__} differs from torch by {difference:.2g}")
        return content


def on_cpu(network: nn.Module) -> nn.Module:
    """Return a copy of a network on the CPU, in plain layout."""
    import copy

    return copy.deepcopy(network).cpu().to(memory_format=torch.contiguous_format).eval()  # type: ignore[call-overload]


Load = Callable[[], dict[str, Prepared]]
"""Brings networks into a runtime, each time anew where that is quick."""


def prepare(runtime: str, networks: Mapping[str, nn.Module], files: OnnxFiles | None, threads: int) -> Load:
    """Make networks ready for a runtime.

    Args:
        runtime: its name.
        networks: in eval mode, by name.
        files: makes their ONNX files, for runtimes that load these.
        threads: of the runtime on the CPU.

    Raises:
        ModelError: a network cannot be brought into the runtime.
    """
    if runtime == "torch-eager":
        return _as_they_are({name: Prepared(network) for name, network in networks.items()})
    if runtime == "torch-compile":
        return _as_they_are({name: Prepared(_compiled(network)) for name, network in networks.items()})
    if files is None:
        raise TypeError(f"{runtime} loads ONNX files")
    load = load_files({name: files.of(network) for name, network in networks.items()}, runtime, threads)
    return load if runtime != "tensorrt" else _as_they_are(load())


def load_files(contents: Mapping[str, bytes], runtime: str, threads: int) -> Load:
    """Return what loads ONNX files, by name, into a runtime."""
    return lambda: {
        name: Prepared(LOADERS[runtime](content, threads), len(content)) for name, content in contents.items()
    }


def _as_they_are(ready: dict[str, Prepared]) -> Load:
    return lambda: ready


def _compiled(network: nn.Module) -> Callable[[Tensor], object]:
    compiled: Callable[[Tensor], object] = torch.compile(network)
    return compiled


def onnxruntime_call(content: bytes, threads: int, providers: Sequence[str] = CPU) -> Callable[[Tensor], object]:
    """Return an ONNX file in onnxruntime, on the CPU unless told otherwise."""
    session = open_session(content, threads, providers=providers)
    name = session.get_inputs()[0].name
    return lambda images: session.run(None, {name: _as_array(images)})


def openvino_call(content: bytes, threads: int) -> Callable[[Tensor], object]:
    """Return an ONNX file in OpenVINO on the CPU, tuned for latency."""
    import openvino

    core = openvino.Core()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.onnx"
        path.write_bytes(content)
        model: Any = core.read_model(str(path))
    settings = {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY"}
    compiled = core.compile_model(model, "CPU", settings)
    request = compiled.create_infer_request()
    return lambda images: request.infer([_as_array(images)])


# What TensorRT cannot run stays on the GPU, by CUDA.
LOADERS: Mapping[str, Callable[[bytes, int], Callable[[Tensor], object]]] = {
    "onnxruntime-cpu": onnxruntime_call,
    "openvino": openvino_call,
    "tensorrt": partial(onnxruntime_call, providers=(TENSORRT, "CUDAExecutionProvider")),
}


def _as_array(images: Tensor) -> Any:  # noqa: ANN401  of NumPy
    return np.ascontiguousarray(images.detach().cpu().numpy())
