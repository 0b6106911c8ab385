"""Times of layers and networks on the machine that this runs on. It needs Python, NumPy and onnxruntime, nothing else.

``python -m amc.profile --ask FILE`` packs it with a request into one file, to be run on a phone or board where neither
torch nor this package is. Formats of request and table: docs/reference/latency_table.md.

Layers are timed by the runtime's own clock around each operation, as it runs them: fused with their activation, in its
own memory layout, without the cost of bringing a lone layer's data into that layout. All counts of a layer take turns,
so that what else the machine does falls on all alike.
"""

import hashlib
import json
import os
import platform
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from amc.measurement.onnx_graph import Graph, layer_graph, model_bytes
from amc.measurement.turns import clock_for, fastest, lower_spread, pinned, steadied, take_turns, undisturbed

REQUEST, TABLE = "amc latency request 2", "amc latency table 2"
ROUNDS, PASSES, SECONDS = 21, 210, 12.0
"""Of layers; and of whole networks, whose passes end after some seconds where they are long."""
WIDEST_SPREAD, WIDEST_LOWER_SPREAD, TRIES = 0.35, 0.2, 3
CPU = ("CPUExecutionProvider",)
LAYOUT_CHANGES = ("ReorderInput", "ReorderOutput", "Transpose")


class TooNoisy(Exception):
    """Repeated times of the same work lie too far apart to mean anything."""


def load_onnxruntime() -> Any:  # noqa: ANN401  untyped library
    """Return onnxruntime, which reports nothing to its makers: from 1.32 on it does so by default, over the network."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    return onnxruntime


def open_session(content: bytes, threads: int, profile: Path | None = None, providers: Sequence[str] = CPU) -> Any:  # noqa: ANN401  untyped library
    """Return an onnxruntime session, on the CPU unless told otherwise, that keeps its log lines to itself."""
    onnxruntime = load_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    if profile is not None:
        options.enable_profiling, options.profile_file_prefix = True, str(profile)
    return onnxruntime.InferenceSession(content, options, providers=list(providers))


def measure_layer(
    layer: Mapping[str, Any], batch: int, threads: int, yardstick: Callable[[], object]
) -> tuple[list[float], float]:
    """Return the milliseconds of a layer at every pair of counts, in their order, and those of the yardstick meanwhile.

    Args:
        layer: of a request.
        batch: images a pass.
        threads: of the runtime.
        yardstick: work that takes its turn in all layers' rounds: what it takes tells how fast the machine was.
    """
    with tempfile.TemporaryDirectory() as folder:
        calls, sessions = [yardstick], []
        for index, (inputs, outputs) in enumerate(layer["counts"]):
            graph, shapes = layer_graph(layer, inputs, outputs)
            session = open_session(model_bytes(graph, shapes), threads, Path(folder) / str(index))
            sessions.append(session)
            calls.append(_runner(session, [batch, *graph["input"]["shape"]]))
        whole, *_ = take_turns(calls, ROUNDS, clock=clock_for(threads))
        kernels = [_kernel_seconds(Path(session.end_profiling())) for session in sessions]
        meanwhile, *found = (1000 * undisturbed(each) for each in steadied([whole, *kernels]))
        return found, meanwhile


def measure_networks(graph: Graph, variants: Sequence[Mapping[str, Any]], batch: int, threads: int) -> list[float]:
    """Return the milliseconds of a network with other shapes of its weights, one for each of the variants.

    Raises:
        TooNoisy: the machine is not quiet enough.
    """
    shape = [batch, *graph["input"]["shape"]]
    calls = [_runner(open_session(model_bytes(graph, each), threads), shape) for each in variants]
    return timed_networks(calls, threads)


def timed_networks(calls: Sequence[Callable[[], object]], threads: int = 1) -> list[float]:
    """Return the milliseconds of whole networks, each warmed up and called in turn with the others.

    Args:
        calls: run a network.
        threads: of the runtime.

    Raises:
        TooNoisy: the machine is not quiet enough.
    """
    for _ in range(TRIES):
        times = take_turns(calls, PASSES, SECONDS, clock_for(threads))
        noise = median(map(lower_spread, times))
        if noise <= WIDEST_LOWER_SPREAD:
            return [1000 * fastest(each) for each in times]
    raise TooNoisy(
        f"the faster half of the times of one network is {noise:.0%} of their median wide, more than "
        f"{WIDEST_LOWER_SPREAD:.0%}: the machine throttles or is busy; measure when it is quiet"
    )


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
    batch, threads = int(request["batch"]), int(request["threads"])
    graph, shapes = request["network"], [each["shapes"] for each in request["variants"]]
    with pinned(threads):
        whole = open_session(model_bytes(graph, shapes[0]), threads)
        yardstick = _runner(whole, [batch, *graph["input"]["shape"]])
        found = []
        asked = [*request["layers"], *request["staircases"]]
        for number_, layer in enumerate(asked, 1):
            tell(f"layer {number_} of {len(asked)}")
            found.append((layer, *measure_layer(layer, batch, threads, yardstick)))
        tell(f"{len(shapes)} networks")
        networks = measure_networks(graph, shapes, batch, threads)
    # All layers as if the machine had been as fast as it was for the networks.
    rows = [{**layer, "ms": [each * networks[0] / meanwhile for each in ms]} for layer, ms, meanwhile in found]
    many = len(request["layers"])
    return as_table(
        request, "onnxruntime-cpu", str(load_onnxruntime().__version__), (rows[:many], rows[many:], networks)
    )


def as_table(
    request: Mapping[str, Any], runtime: str, version: str, measured: tuple[list[Any], list[Any], list[float]]
) -> dict[str, Any]:
    """Return the table that answers a request: its layers, staircases and networks as a runtime was measured."""
    layers, staircases, networks = measured
    pairs = zip(request["variants"], networks, strict=True)
    table = {
        "format": TABLE,
        "runtime": runtime,
        "version": version,
        "batch": int(request["batch"]),
        "threads": int(request["threads"]),
        "machine": machine(),
        "layers": layers,
        "staircases": staircases,
        "networks": [{"layers": each["layers"], "ms": ms} for each, ms in pairs],
    }
    return {**table, "sha256": digest(table)}


def digest(content: Mapping[str, Any]) -> str:
    """Return what tells damage, as files of a run carry it."""
    plain = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(plain.encode()).hexdigest()[:32]


def measured(content: str, source: str) -> str:
    """Measure the request in a file and return the table's content; how far it is goes to stderr.

    Raises:
        SystemExit: it is no request of this version, or the machine is too noisy.
    """
    request = json.loads(content)
    if request.get("format") != REQUEST:
        raise SystemExit(f"{source}: format is {request.get('format')!r:.60}, this file measures {REQUEST!r}")
    try:
        return json.dumps(measure(request, lambda line: print(line, file=sys.stderr, flush=True))) + "\n"
    except TooNoisy as error:
        raise SystemExit(str(error)) from error


def _runner(session: Any, shape: Sequence[int]) -> Callable[[], object]:  # noqa: ANN401  untyped library
    feed = {session.get_inputs()[0].name: np.random.default_rng(0).standard_normal(shape, dtype=np.float32)}
    return lambda: session.run(None, feed)


def _kernel_seconds(profile: Path) -> list[float]:
    """Return the seconds that the operations of a graph took in each round, changes of layout left out.

    Of the two calls of a round the second is the one that counts.
    """
    times: dict[str, list[float]] = {}
    for event in json.loads(profile.read_text()):
        inside = event.get("args", {})
        kernel = event.get("cat") == "Node" and event["name"].endswith("_kernel_time")
        if kernel and inside.get("op_name") not in LAYOUT_CHANGES:
            times.setdefault(event["name"], []).append(event["dur"] / 1e6)
    return [sum(each) for each in zip(*(taken[-2 * ROUNDS :][1::2] for taken in times.values()), strict=True)]
