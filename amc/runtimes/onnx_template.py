"""One ONNX graph for a network and all that is cut from it: exported once, its weights exchanged.

Exporting takes seconds, exchanging weights milliseconds. Graphs made so are compared with torch where they are written.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from amc.errors import ModelError
from amc.measurement.on_device import open_session
from amc.weights.export import onnx_bytes

Array = NDArray[Any]
LARGEST_CONSTANT = 4096
"""Values of what is no weight of the network."""


class OnnxTemplate:
    """The ONNX graph of a dense network, whose weights can be those of a pruned one.

    Args:
        network: the dense network as it is run, batch norms folded, without masks.
        example: an input, shape ``(1, ...)``.

    Raises:
        ModelError: the network cannot be exported, or its weights cannot be found in the graph.
    """

    def __init__(self, network: nn.Module, example: Tensor) -> None:
        import onnx

        self._onnx: Any = onnx
        self.model: Any = onnx.load_model_from_string(onnx_bytes(network, example))
        self.example = example
        _flatten_by_name(onnx, self.model.graph)
        self._weights = _weights_by_initializer(onnx, self.model.graph, network)

    def filled(self, network: nn.Module) -> bytes:
        """Return the graph with the weights of a network that was cut from the dense one, folded alike."""
        model = self._onnx.ModelProto()
        model.CopyFrom(self.model)
        tensors = _tensors(network)
        for held in model.graph.initializer:
            if held.name in self._weights:
                path, transposed = self._weights[held.name]
                values = tensors[path].T if transposed else tensors[path]
                held.CopyFrom(self._onnx.numpy_helper.from_array(np.ascontiguousarray(values), held.name))
        for node in model.graph.node:
            filters = self._filters(node)
            for attribute in node.attribute if filters else ():
                if attribute.name == "group":
                    attribute.i = tensors[self._weights[node.input[1]][0]].shape[0] // filters
        del model.graph.value_info[:]
        return bytes(model.SerializeToString())

    def shapes(self, network: nn.Module) -> dict[str, list[int]]:
        """Return the shapes of the weights of a network by their names in the graph."""
        tensors = _tensors(network)
        return {
            name: list((tensors[path].T if transposed else tensors[path]).shape)
            for name, (path, transposed) in self._weights.items()
        }

    def described(self) -> dict[str, Any]:
        """Return the graph without its weights, as a request for measurements holds it.

        Raises:
            ModelError: the graph holds what a request cannot.
        """
        onnx, graph = self._onnx, self.model.graph
        constants: dict[str, Any] = {}
        for held in graph.initializer:
            if held.name not in self._weights:
                constants[held.name] = _constant(onnx.numpy_helper.to_array(held), held.name)
        nodes = []
        for node in graph.node:
            attrs = {each.name: _plain(onnx.helper.get_attribute_value(each), node.op_type) for each in node.attribute}
            filters = self._filters(node)
            nodes.append(
                {"op": node.op_type, "in": list(node.input), "out": list(node.output), "attrs": attrs}
                | ({"depthwise": filters} if filters else {})
            )
        return {
            "nodes": nodes,
            "input": {"name": graph.input[0].name, "shape": list(self.example.shape[1:])},
            "output": graph.output[0].name,
            "constants": constants,
            "opset": next(each.version for each in self.model.opset_import if not each.domain),
        }

    def _filters(self, node: Any) -> int:  # noqa: ANN401  onnx is imported where it is used
        """Return the filters a channel of a depthwise convolution, 0 for all other nodes."""
        if node.op_type != "Conv" or node.input[1] not in self._weights:
            return 0
        weight = next(each for each in self.model.graph.initializer if each.name == node.input[1])
        groups = next((each.i for each in node.attribute if each.name == "group"), 1)
        return weight.dims[0] // groups if groups > 1 and weight.dims[1] == 1 else 0


def _tensors(network: nn.Module) -> dict[str, Array]:
    """Return a network's tensors; a layer that has no bias where folding gives it one counts as having zeros."""
    state = network.state_dict()
    return {name: tensor.detach().cpu().contiguous().numpy() for name, tensor in state.items()}


def _weights_by_initializer(onnx: Any, graph: Any, network: nn.Module) -> dict[str, tuple[str, bool]]:  # noqa: ANN401
    """Return which weight every initializer holds, and whether transposed.

    Raises:
        ModelError: a large one holds none.
    """
    tensors = _tensors(network)
    found = {}
    for held in graph.initializer:
        values = onnx.numpy_helper.to_array(held)
        path = _path(held.name, values, tensors)
        if path is not None:
            found[held.name] = path
        elif values.size > LARGEST_CONSTANT:
            raise ModelError(f"the ONNX graph of {type(network).__name__} holds {held.name}, which is no weight of it")
    return found


def _path(name: str, values: Array, tensors: Mapping[str, Array]) -> tuple[str, bool] | None:
    candidates = [name] if name in tensors else list(tensors)
    for path in candidates:
        tensor = tensors[path]
        if tensor.shape == values.shape and np.array_equal(tensor, values):
            return path, False
        if tensor.ndim == 2 and tensor.T.shape == values.shape and np.array_equal(tensor.T, values):
            return path, True
    return None


def _flatten_by_name(onnx: Any, graph: Any) -> None:  # noqa: ANN401
    """Turn reshapes to ``(any, channels)`` into flattening, which knows no number of channels."""
    held = {each.name: onnx.numpy_helper.to_array(each) for each in graph.initializer}
    for node in graph.node:
        shape = held.get(node.input[1]) if node.op_type == "Reshape" else None
        if shape is not None and shape.shape == (2,) and shape[0] == -1:
            flat = onnx.helper.make_node("Flatten", [node.input[0]], list(node.output), axis=1)
            node.CopyFrom(flat)


def _constant(values: Array, name: str) -> dict[str, Any]:
    if values.dtype not in (np.float32, np.int64) or values.size > LARGEST_CONSTANT:
        raise ModelError(f"the ONNX graph holds {name} of {values.dtype}, {values.shape}, which no request can hold")
    return {"type": str(values.dtype), "dims": list(values.shape), "values": values.flatten().tolist()}


def _plain(value: object, operation: str) -> object:
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, int | float):
        return value
    if isinstance(value, list | tuple) and all(isinstance(each, int) for each in value):
        return list(value)
    raise ModelError(f"the ONNX graph holds {operation} with what no request can hold: {value!r:.60}")


def differences(content: bytes, network: nn.Module, images: Tensor) -> float:
    """Return the largest difference of an ONNX file in onnxruntime from a network in torch, relative to its outputs.

    Args:
        content: the file.
        network: in eval mode.
        images: a batch.
    """
    session = open_session(content, threads=0)
    given = images.detach().cpu().contiguous().numpy()
    found = torch.from_numpy(session.run(None, {session.get_inputs()[0].name: given})[0])
    with torch.inference_mode():
        expected = network(images).cpu().float()
    return float((found - expected).abs().max() / expected.abs().max().clamp_min(1e-6))
