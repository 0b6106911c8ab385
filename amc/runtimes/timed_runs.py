"""How long the networks of a run take, side by side in a runtime: paired, with an interval of their ratio."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from statistics import median, quantiles

import numpy as np
import torch
from scipy.special import bdtr
from torch import Tensor, nn

from amc.measurement.latency import Latency, Pass
from amc.measurement.on_device import WIDEST_SPREAD
from amc.measurement.turns import clock_for, fastest, pinned, spread, take_turns
from amc.runtimes.prepared import Load, OnnxFiles, Prepared, load_files, prepare
from envs.engine.threads import torch_threads

ROUNDS, SECONDS, TRIES = 101, 4.0, 3
LOADS, FEWEST_LOADS = 9, 6
"""A network that is loaded anew lies elsewhere in memory, and differs from itself by some percent."""
LARGEST_DRIFT = 0.2
"""Between the first and the last third of the rounds: a machine that throttles gets slower."""


def time_networks(
    runtime: str,
    networks: Mapping[str, nn.Module],
    images: Tensor,
    files: OnnxFiles | None = None,
    *,
    batches: Sequence[int] = (1,),
    threads: int = 1,
    rounds: int = ROUNDS,
    seconds: float = SECONDS,
) -> list[Latency]:
    """Time networks in a runtime, taking turns; the first is what the others are compared with.

    With one thread on a CPU the time is the processor's, which what else the machine does is no part of.

    Args:
        runtime: its name.
        networks: in eval mode by name, on the device of ``images``.
        images: at least one.
        files: makes their ONNX files, for runtimes that load these.
        batches: images a pass, one measurement each.
        threads: of the runtime on the CPU.
        rounds: passes of each network, each time that it is loaded.
        seconds: stop early after about this long.

    Raises:
        ModelError: a network cannot be brought into the runtime.
    """
    with pinned(threads), torch_threads(threads):
        load = prepare(runtime, networks, files, threads)
        return _by_batch(runtime, load, images, batches, threads, rounds, seconds)


def time_files(
    contents: Mapping[str, bytes], images: Tensor, *, batches: Sequence[int] = (1,), threads: int = 1
) -> list[Latency]:
    """Time ONNX files in onnxruntime, taking turns; the first is what the others are compared with.

    Args:
        contents: by name.
        images: at least one.
        batches: images a pass, one measurement each.
        threads: of the runtime.
    """
    with pinned(threads), torch_threads(threads):
        load = load_files(contents, "onnxruntime-cpu", threads)
        return _by_batch("onnxruntime-cpu", load, images, batches, threads, ROUNDS, SECONDS)


def _by_batch(
    runtime: str,
    load: Load,
    images: Tensor,
    batches: Sequence[int],
    threads: int,
    rounds: int,
    seconds: float,
) -> list[Latency]:
    found = []
    for batch in batches:
        given = images[:1].repeat(batch, *(1,) * (images.ndim - 1))
        found += _steady(runtime, load, given, threads, rounds, seconds)
    return found


def _steady(runtime: str, load: Load, images: Tensor, threads: int, rounds: int, seconds: float) -> list[Latency]:
    """Measure until the times are steady; after a few tries they are marked as not."""
    on_cpu = images.device.type == "cpu" and runtime != "tensorrt"
    clock = clock_for(threads) if on_cpu else time.perf_counter
    for _ in range(TRIES):
        ready, loads = _loads(load, images, rounds, seconds, clock)
        times = [[seconds for passes in each for seconds in passes] for each in zip(*loads, strict=True)]
        steady = is_steady(times)
        if steady:
            break
    rows = []
    for index, ((name, each), passes) in enumerate(zip(ready.items(), times, strict=True)):
        low, middle, high = (1000 * value for value in quantiles(passes, n=4, method="inclusive"))
        row = Latency(name, len(images), threads, str(images.device), len(passes), middle, low, high)
        ratio, least, most = speedup([(load[0], load[index]) for load in loads])
        rows.append(
            replace(
                row,
                runtime=runtime,
                speedup=ratio,
                speedup_low=least,
                speedup_high=most,
                file_bytes=each.file_bytes,
                steady=steady,
            )
        )
    return rows


def _loads(
    load: Load, images: Tensor, rounds: int, seconds: float, clock: Callable[[], float]
) -> tuple[dict[str, Prepared], list[list[list[float]]]]:
    """Load the networks a few times, and return the seconds of each, in each round, for every load."""
    end = time.perf_counter() + seconds
    found: list[list[list[float]]] = []
    while len(found) < LOADS and (not found or time.perf_counter() < end):
        ready = load()
        with torch.inference_mode():
            calls = [Pass(each.run, images) for each in ready.values()]
            found.append(take_turns(calls, rounds, seconds / LOADS, clock))
    return ready, found


def speedup(loads: Sequence[tuple[Sequence[float], Sequence[float]]]) -> tuple[float, float, float]:
    """Return how many times faster the second of two networks is, with a 95% interval.

    The fastest passes of each are compared, see ``amc.measurement.turns.fastest``.

    Args:
        loads: seconds of the first and of the second by round, for every time that they were loaded.
    """
    dense, other = ([seconds for load in loads for seconds in load[side]] for side in (0, 1))
    ratio = fastest(dense) / fastest(other)
    # Of long passes there was time for few loads: then parts of them stand for loads.
    parts = loads if len(loads) >= FEWEST_LOADS else list(zip(_split(dense), _split(other), strict=True))
    _, low, high = interval([fastest(a) / fastest(b) for a, b in parts])
    return ratio, min(low, ratio), max(high, ratio)


def _split(times: Sequence[float]) -> list[Sequence[float]]:
    count = min(LOADS, len(times))
    return [times[len(times) * part // count : len(times) * (part + 1) // count] for part in range(count)]


def is_steady(times: Sequence[Sequence[float]]) -> bool:
    """Whether times of the same work lie close together, and no later in the measurement than before."""
    third = len(times[0]) // 3
    drifts = [abs(median(each[-third:]) / median(each[:third]) - 1) for each in times]
    return median(map(spread, times)) <= WIDEST_SPREAD and median(drifts) <= LARGEST_DRIFT


def interval(ratios: Sequence[float]) -> tuple[float, float, float]:
    """Return the median of ratios with its 95% interval.

    It is that of order statistics, which asks nothing of the distribution, but that ratios have little in common.

    Args:
        ratios: how many times faster one network is than another, each of one moment; six at least.

    References:
        Hahn and Meeker, 1991, "Statistical Intervals", section 5.2.
    """
    ordered, count = sorted(ratios), len(ratios)
    # The quantile of a binomial, as scipy.stats has it, which takes a second to import.
    below = max(int(np.searchsorted(bdtr(np.arange(count), count, 0.5), 0.025)) - 1, 0)
    return median(ordered), ordered[below], ordered[count - 1 - below]
