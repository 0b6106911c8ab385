"""Times of layers and networks on the machine that runs this file. It needs Python, NumPy and onnxruntime, nothing else.

``python on_device.py request.json table.json`` measures what ``python -m amc.profile --ask`` asked for, on a phone or
board where neither torch nor this package is. Formats of both files: docs/reference/latency_table.md.

Layers are timed by the runtime's own clock around each operation, as it runs them: fused with their activation, in its
own memory layout, without the cost of bringing a lone layer's data into that layout. All counts of a layer take turns,
so that what else the machine does falls on all alike, and weights are as cold in the cache as between other layers.
"""

import hashlib
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

REQUEST, TABLE = "amc latency request 1", "amc latency table 1"
WARMUP, ROUNDS = 3, 21
WIDEST_SPREAD = 0.35
FLOAT, INT64 = 1, 7
OPSET, IR_VERSION = 17, 8
INTS, INT, STRING, REAL = 7, 2, 3, 1
LAYOUT_CHANGES = ("ReorderInput", "ReorderOutput", "Transpose")
Graph = Mapping[str, Any]


class TooNoisy(Exception):
    """Repeated times of the same work lie too far apart to mean anything."""


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
    attrs = {
        "kernel_shape": kernel,
        "strides": list(layer["stride"]),
        "pads": [*layer["padding"], *layer["padding"]],
        "dilations": list(layer["dilation"]),
        "group": inputs if kind == "depthwise" else int(layer.get("groups", 1)),
    }
    node = {"op": "Conv", "in": names, "out": ["sum"], "attrs": attrs}
    active = {"op": "Relu", "in": ["sum"], "out": ["logits"]}
    read = 1 if kind == "depthwise" else inputs // attrs["group"]
    shapes = {"weight": [outputs, read, *kernel], "bias": [outputs]}
    return {"nodes": [node, active], "input": {"name": "images", "shape": [inputs, *pixels]}, "output": "logits"}, shapes


def open_session(content: bytes, threads: int, profile: Path | None = None) -> Any:  # noqa: ANN401  untyped library
    """Return an onnxruntime session on the CPU that keeps its log lines to itself."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    if profile is not None:
        options.enable_profiling, options.profile_file_prefix = True, str(profile)
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


@contextmanager
def pinned(threads: int) -> Iterator[None]:
    """Keep this process on as many cores as it has threads, where the system allows it."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, set(sorted(before)[-threads:]))
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def take_turns(calls: Sequence[Callable[[], object]], rounds: int, seconds: float = float("inf")) -> list[list[float]]:
    """Return the seconds of every call in every round; the order rotates, so none always runs behind the same rival.

    Args:
        calls: what to time; warmed up here.
        rounds: at most so many.
        seconds: no further round after this long, but at least eleven.
    """
    for call in calls:
        for _ in range(WARMUP):
            call()
    times: list[list[float]] = [[] for _ in calls]
    end = time.perf_counter() + seconds
    for done in range(rounds):
        if done >= 11 and time.perf_counter() > end:
            break
        for place in range(len(calls)):
            index = (done + place) % len(calls)
            start = time.perf_counter()
            calls[index]()
            times[index].append(time.perf_counter() - start)
    return times


def middle(times: Sequence[float]) -> float:
    """Return the mean of the middle half: finer than a median where the clock is coarse."""
    ordered = sorted(times)
    quarter = len(ordered) // 4
    inner = ordered[quarter : len(ordered) - quarter]
    return sum(inner) / len(inner)


def spread(times: Sequence[float]) -> float:
    """Return the width of the middle half of times, relative to their median."""
    low, high = np.quantile(times, [0.25, 0.75])
    return float(high - low) / median(times)


def measure_layer(layer: Mapping[str, Any], batch: int, threads: int, rounds: int = ROUNDS) -> list[float]:
    """Return the milliseconds of a layer at every pair of counts that is asked for, in their order."""
    with tempfile.TemporaryDirectory() as folder:
        calls, sessions = [], []
        for index, (inputs, outputs) in enumerate(layer["counts"]):
            graph, shapes = layer_graph(layer, inputs, outputs)
            session = open_session(model_bytes(graph, shapes), threads, Path(folder) / str(index))
            sessions.append(session)
            calls.append(_runner(session, [batch, *graph["input"]["shape"]]))
        take_turns(calls, rounds)
        return [_kernel_ms(Path(session.end_profiling()), rounds) for session in sessions]


def measure_networks(graph: Graph, variants: Sequence[Mapping[str, Any]], batch: int, threads: int) -> list[float]:
    """Return the milliseconds of a network with other shapes of its weights, one for each of the variants.

    Raises:
        TooNoisy: the machine is not quiet enough.
    """
    shape = [batch, *graph["input"]["shape"]]
    calls = [_runner(open_session(model_bytes(graph, each), threads), shape) for each in variants]
    return timed_networks(calls)


def timed_networks(calls: Sequence[Callable[[], object]]) -> list[float]:
    """Return the milliseconds of whole networks, each warmed up and called in turn with the others.

    Raises:
        TooNoisy: the machine is not quiet enough.
    """
    times = take_turns(calls, 2 * ROUNDS)
    noise = median(map(spread, times))
    if noise > WIDEST_SPREAD:
        raise TooNoisy(
            f"the middle half of the times of one network is {noise:.0%} of their median wide, more than "
            f"{WIDEST_SPREAD:.0%}: the machine throttles or is busy; measure when it is quiet"
        )
    return [1000 * middle(each) for each in times]


def machine() -> dict[str, Any]:
    """Describe this machine: a table holds for one like it."""
    name = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
        name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), name)
    return {"processor": name, "architecture": platform.machine(), "system": platform.system(), "cores": os.cpu_count()}


def measure(request: Mapping[str, Any], tell: Callable[[str], None] = lambda _: None) -> dict[str, Any]:
    """Measure what a request asks for and return the table.

    Raises:
        TooNoisy: the machine is not quiet enough.
    """
    import onnxruntime

    batch, threads = int(request["batch"]), int(request["threads"])
    with pinned(threads):
        layers = []
        for number_, layer in enumerate(request["layers"], 1):
            tell(f"layer {number_} of {len(request['layers'])}")
            layers.append({**layer, "ms": measure_layer(layer, batch, threads)})
        stairs = [{**each, "ms": measure_layer(each, batch, threads)} for each in request["staircases"]]
        tell(f"{len(request['variants'])} networks")
        networks = measure_networks(request["network"], [each["shapes"] for each in request["variants"]], batch, threads)
    measured = [
        {"layers": each["layers"], "ms": ms} for each, ms in zip(request["variants"], networks, strict=True)
    ]
    table = {
        "format": TABLE,
        "runtime": "onnxruntime-cpu",
        "version": onnxruntime.__version__,
        "batch": batch,
        "threads": threads,
        "machine": machine(),
        "layers": layers,
        "staircases": stairs,
        "networks": measured,
    }
    return {**table, "sha256": digest(table)}


def digest(content: Mapping[str, Any]) -> str:
    """Return what tells damage, as files of a run carry it."""
    plain = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(plain.encode()).hexdigest()[:32]


def main(arguments: Sequence[str]) -> None:
    """Measure a request file and write the table."""
    if len(arguments) != 2:
        raise SystemExit("usage: python on_device.py request.json table.json")
    source, target = map(Path, arguments)
    request = json.loads(source.read_text())
    if request.get("format") != REQUEST:
        raise SystemExit(f"{source}: format is {request.get('format')!r:.60}, this file measures {REQUEST!r}")
    try:
        table = measure(request, lambda line: print(line, file=sys.stderr, flush=True))
    except TooNoisy as error:
        raise SystemExit(str(error)) from error
    target.write_text(json.dumps(table) + "\n")
    print(f"written: {target}")


def _runner(session: Any, shape: Sequence[int]) -> Callable[[], object]:  # noqa: ANN401  untyped library
    feed = {session.get_inputs()[0].name: np.random.default_rng(0).standard_normal(shape, dtype=np.float32)}
    return lambda: session.run(None, feed)


def _kernel_ms(profile: Path, rounds: int) -> float:
    """Return the milliseconds that the operations of a graph took, changes of layout left out."""
    times: dict[str, list[float]] = {}
    for event in json.loads(profile.read_text()):
        inside = event.get("args", {})
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            if inside.get("op_name") not in LAYOUT_CHANGES:
                times.setdefault(event["name"], []).append(event["dur"] / 1000)
    # Whatever disturbs a kernel makes it slower: its lower quartile is what it takes.
    return sum(float(np.quantile(each[-rounds:], 0.25)) for each in times.values())


if __name__ == "__main__":
    main(sys.argv[1:])
