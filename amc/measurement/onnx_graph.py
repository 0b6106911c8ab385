"""ONNX files with random weights, written without the onnx package: what a machine with onnxruntime alone can make."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

FLOAT, INT64 = 1, 7
OPSET, IR_VERSION = 17, 8
INTS, INT, STRING, REAL = 7, 2, 3, 1
"""Kinds of attributes, as ONNX numbers them."""
Graph = Mapping[str, Any]


def varint(value: int) -> bytes:
    """Return a whole number as protocol buffers write it."""
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes((*out, value))


def number(tag: int, value: int) -> bytes:
    """Return a field that holds a whole number."""
    return varint(tag << 3) + varint(value)


def chunk(tag: int, content: bytes | str) -> bytes:
    """Return a field that holds bytes, a string or a message."""
    content = content.encode() if isinstance(content, str) else content
    return varint(tag << 3 | 2) + varint(len(content)) + content


def attribute(name: str, value: Any) -> bytes:  # noqa: ANN401  whatever JSON holds
    """Return an AttributeProto."""
    if isinstance(value, list):
        return chunk(1, name) + b"".join(number(8, each) for each in value) + number(20, INTS)
    if isinstance(value, str):
        return chunk(1, name) + chunk(4, value) + number(20, STRING)
    if isinstance(value, float):
        return chunk(1, name) + varint(2 << 3 | 5) + np.float32(value).tobytes() + number(20, REAL)
    return chunk(1, name) + number(3, int(value)) + number(20, INT)


def tensor(name: str, values: NDArray[Any]) -> bytes:
    """Return a TensorProto."""
    kind = INT64 if values.dtype == np.int64 else FLOAT
    dims = b"".join(number(1, size) for size in values.shape)
    return dims + number(2, kind) + chunk(8, name) + chunk(9, values.tobytes())


def value_info(name: str, shape: Sequence[int | str]) -> bytes:
    """Return a ValueInfoProto of floats; a name among the sizes stands for any."""
    dims = (chunk(1, chunk(2, size) if isinstance(size, str) else number(1, size)) for size in shape)
    return chunk(1, name) + chunk(2, chunk(1, number(1, FLOAT) + chunk(2, b"".join(dims))))


def model_bytes(graph: Graph, shapes: Mapping[str, Sequence[int]]) -> bytes:
    """Return a graph as an ONNX file, its weights drawn at random; what they are changes no time.

    Args:
        graph: ``nodes``, ``input``, ``output`` and ``constants`` as the request describes them.
        shapes: of the weights, by name.
    """
    random = np.random.default_rng(0)
    nodes = []
    for node in graph["nodes"]:
        attrs = dict(node.get("attrs", {}))
        if node["op"] == "Conv" and node.get("depthwise"):
            attrs["group"] = shapes[node["in"][1]][0] // node["depthwise"]
        fields = [chunk(1, name) for name in node["in"]] + [chunk(2, name) for name in node["out"]]
        fields += [chunk(4, node["op"])] + [chunk(5, attribute(*each)) for each in attrs.items()]
        nodes.append(chunk(1, b"".join(fields)))
    weights = []
    for name, shape in shapes.items():
        fan_in = max(1, int(np.prod(shape[1:])))
        values = random.standard_normal(shape, dtype=np.float32) / np.float32(fan_in**0.5)
        weights.append(chunk(5, tensor(name, values)))
    for name, held in graph.get("constants", {}).items():
        values = np.array(held["values"], dtype=np.dtype(held["type"])).reshape(held["dims"])
        weights.append(chunk(5, tensor(name, values)))
    inputs = chunk(11, value_info(graph["input"]["name"], ["batch", *graph["input"]["shape"]]))
    body = b"".join(nodes) + chunk(2, "amc") + b"".join(weights) + inputs + chunk(12, value_info(graph["output"], []))
    opset = chunk(8, chunk(1, "") + number(2, int(graph.get("opset", OPSET))))
    return number(1, IR_VERSION) + chunk(7, body) + opset


def layer_graph(layer: Mapping[str, Any], inputs: int, outputs: int) -> tuple[Graph, dict[str, list[int]]]:
    """Return the graph of one layer with its bias and activation, and the shapes of its weights."""
    kind, kernel = layer["kind"], list(layer["kernel"])
    names = ["images", "weight", "bias"]
    pixels = list(layer["size"])
    if kind == "linear" and not pixels:
        node: dict[str, Any] = {"op": "Gemm", "in": names, "out": ["logits"], "attrs": {"transB": 1}}
        shapes = {"weight": [outputs, inputs], "bias": [outputs]}
        return {"nodes": [node], "input": {"name": "images", "shape": [inputs]}, "output": "logits"}, shapes
    if kind == "linear":
        nodes = [
            {"op": "MatMul", "in": names[:2], "out": ["product"]},
            {"op": "Add", "in": ["product", "bias"], "out": ["logits"]},
        ]
        shapes = {"weight": [inputs, outputs], "bias": [outputs]}
        return {"nodes": nodes, "input": {"name": "images", "shape": [*pixels, inputs]}, "output": "logits"}, shapes
    groups = inputs if kind == "depthwise" else int(layer.get("groups", 1))
    attrs = {
        "kernel_shape": kernel,
        "strides": list(layer["stride"]),
        "pads": [*layer["padding"], *layer["padding"]],
        "dilations": list(layer["dilation"]),
        "group": groups,
    }
    node = {"op": "Conv", "in": names, "out": ["sum"], "attrs": attrs}
    active = {"op": "Relu", "in": ["sum"], "out": ["logits"]}
    shapes = {"weight": [outputs, inputs // groups, *kernel], "bias": [outputs]}
    return {
        "nodes": [node, active],
        "input": {"name": "images", "shape": [inputs, *pixels]},
        "output": "logits",
    }, shapes
