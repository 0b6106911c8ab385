"""Times of layers and networks on the machine that this runs on. It needs Python, NumPy and onnxruntime, nothing else.

``python -m amc.profile --ask FILE`` packs it with a request into one file, to be run on a phone or board where neither
torch nor this package is. Formats of request and table: docs/reference/latency_table.md.

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

from amc.measurement.onnx_graph import Graph, layer_graph, model_bytes

REQUEST, TABLE = "amc latency request 1", "amc latency table 1"
WARMUP, ROUNDS = 3, 21
WIDEST_SPREAD, WIDEST_LOWER_SPREAD, TRIES = 0.35, 0.2, 3
LAYOUT_CHANGES = ("ReorderInput", "ReorderOutput", "Transpose")


class TooNoisy(Exception):
    """Repeated times of the same work lie too far apart to mean anything."""


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


def clock_for(threads: int) -> Callable[[], float]:
    """Return the clock that tells what work takes: of one thread its processor time, which leaves others' work out."""
    return time.process_time if threads == 1 else time.perf_counter


TICK = 1e-9
"""Seconds that a call takes at the least: a clock that stood still meanwhile must not make ratios infinite."""


def take_turns(
    calls: Sequence[Callable[[], object]],
    rounds: int,
    seconds: float = float("inf"),
    clock: Callable[[], float] = time.perf_counter,
) -> list[list[float]]:
    """Return the seconds of every call in every round; the order rotates, so none always runs behind the same rival.

    Args:
        calls: what to time; warmed up here.
        rounds: at most so many.
        seconds: no further round after this long, but at least eleven.
        clock: that tells what a call takes.
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
            start = clock()
            calls[index]()
            times[index].append(max(clock() - start, TICK))
    return times


def undisturbed(times: Sequence[float]) -> float:
    """Return the mean of the faster half: whatever disturbs makes slower, and the runtime's clock ticks coarsely."""
    ordered = sorted(times)
    faster = ordered[: max(1, len(ordered) // 2)]
    return sum(faster) / len(faster)


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
        times = take_turns(calls, 2 * ROUNDS, clock=clock_for(threads))
        noise = median(map(lower_spread, times))
        if noise <= WIDEST_LOWER_SPREAD:
            return [1000 * undisturbed(each) for each in times]
    raise TooNoisy(
        f"the faster half of the times of one network is {noise:.0%} of their median wide, more than "
        f"{WIDEST_LOWER_SPREAD:.0%}: the machine throttles or is busy; measure when it is quiet"
    )


def lower_spread(times: Sequence[float]) -> float:
    """Return how far the fastest tenth of times is from their median, relative to it."""
    return 1 - float(np.quantile(times, 0.1)) / median(times)


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
        shapes = [each["shapes"] for each in request["variants"]]
        tell(f"{len(shapes)} networks")
        networks = measure_networks(request["network"], shapes, batch, threads)
    return as_table(request, "onnxruntime-cpu", onnxruntime.__version__, (layers, stairs, networks))


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


def _kernel_ms(profile: Path, rounds: int) -> float:
    """Return the milliseconds that the operations of a graph took, changes of layout left out."""
    times: dict[str, list[float]] = {}
    for event in json.loads(profile.read_text()):
        inside = event.get("args", {})
        kernel = event.get("cat") == "Node" and event["name"].endswith("_kernel_time")
        if kernel and inside.get("op_name") not in LAYOUT_CHANGES:
            times.setdefault(event["name"], []).append(event["dur"] / 1000)
    return sum(undisturbed(each[-rounds:]) for each in times.values())
