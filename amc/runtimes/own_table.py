"""Tables of runtimes that do not tell what an operation takes by itself: layers are timed from outside, alone."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from amc.errors import ConfigError
from amc.measurement.on_device import ROUNDS, as_table, load_onnxruntime, measure, timed_networks
from amc.measurement.onnx_graph import layer_graph, model_bytes
from amc.measurement.turns import clock_for, pinned, steadied, take_turns, undisturbed
from amc.runtimes.prepared import openvino_call
from amc.runtimes.request import bare
from envs.engine.threads import torch_threads
from envs.engine.torch_engine import TorchEngine

Call = Callable[[], object]


def measure_table(
    runtime: str, request: Mapping[str, Any], engine: TorchEngine, tell: Callable[[str], None]
) -> dict[str, Any]:
    """Measure a request in a runtime and return the table.

    Args:
        runtime: its name.
        request: what to measure.
        engine: of the network that the request is about.
        tell: is told how far it is.

    Raises:
        ConfigError: the runtime takes too long to load a layer.
        TooNoisy: the machine is not quiet enough.
    """
    if runtime == "onnxruntime-cpu":
        return measure(request, tell)
    device = next((parameter.device.type for parameter in engine.model.parameters()), "cpu")
    if runtime == "tensorrt" or (device != "cpu" and runtime != "openvino"):
        raise ConfigError("device_profile: layers are timed on CPUs; resource=flops, and the run's end, go on a GPU")
    if runtime == "torch-compile":
        raise ConfigError(
            "device_profile=torch-compile: compiling each layer takes too long for a table; take torch-eager"
        )
    batch, threads = int(request["batch"]), int(request["threads"])
    openvino = runtime == "openvino"
    layer_call = _openvino_layer if openvino else _torch_layer
    with pinned(threads), torch_threads(threads), torch.inference_mode():
        layers = [_timed_layer(layer, layer_call, batch, threads) for layer in request["layers"]]
        stairs = [_timed_layer(layer, layer_call, batch, threads) for layer in request["staircases"]]
        tell(f"{len(request['variants'])} networks")
        images = torch.randn(batch, *request["network"]["input"]["shape"])
        if openvino:
            contents = [model_bytes(request["network"], each["shapes"]) for each in request["variants"]]
            calls = [_bound(openvino_call(content, threads), images) for content in contents]
        else:
            calls = [_bound(bare(engine, each["kept"]), images) for each in request["variants"]]
        networks = timed_networks(calls, threads)
    return as_table(request, runtime, version_of(runtime), (layers, stairs, networks))


def version_of(runtime: str) -> str:
    """Return the version of a runtime."""
    if runtime == "onnxruntime-cpu":
        return str(load_onnxruntime().__version__)
    if runtime == "openvino":
        import openvino

        return str(openvino.__version__)
    return str(torch.__version__)


def _timed_layer(layer: Mapping[str, Any], call: Callable[..., Call], batch: int, threads: int) -> dict[str, Any]:
    calls = [call(layer, inputs, outputs, batch, threads) for inputs, outputs in layer["counts"]]
    times = steadied(take_turns(calls, ROUNDS, clock=clock_for(threads)))
    return {**layer, "ms": [1000 * undisturbed(each) for each in times]}


def _torch_layer(layer: Mapping[str, Any], inputs: int, outputs: int, batch: int, _: int) -> Call:
    network: nn.Module
    if layer["kind"] == "linear":
        network = nn.Linear(inputs, outputs)
        shape: Sequence[int] = (batch, *layer["size"], inputs)
    else:
        kinds = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
        groups = inputs if layer["kind"] == "depthwise" else layer["groups"]
        convolution = kinds[len(layer["kernel"]) - 1](
            inputs,
            outputs,
            tuple(layer["kernel"]),
            tuple(layer["stride"]),
            tuple(layer["padding"]),
            tuple(layer["dilation"]),
            groups,
        )
        network = nn.Sequential(convolution, nn.ReLU(inplace=True))
        shape = (batch, inputs, *layer["size"])
    return _bound(network.eval(), torch.randn(*shape))


def _openvino_layer(layer: Mapping[str, Any], inputs: int, outputs: int, batch: int, threads: int) -> Call:
    graph, shapes = layer_graph(layer, inputs, outputs)
    return _bound(openvino_call(model_bytes(graph, shapes), threads), torch.randn(batch, *graph["input"]["shape"]))


def _bound(run: Callable[[torch.Tensor], object], images: torch.Tensor) -> Call:
    return lambda: run(images)
