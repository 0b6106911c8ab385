"""How long the networks of a run take, side by side in a runtime: paired, with an interval of their ratio."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import median, quantiles

import numpy as np
import torch
from scipy.special import bdtr
from torch import Tensor, nn

from amc.measurement.latency import Latency
from amc.measurement.on_device import WIDEST_SPREAD
from amc.measurement.turns import clock_for, pinned, spread, take_turns
from amc.runtimes.prepared import OnnxFiles, Prepared, onnxruntime_call, prepare
from envs.engine.threads import torch_threads

ROUNDS, SECONDS, TRIES = 101, 4.0, 3
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
        rounds: passes of each network.
        seconds: stop early after this long.

    Raises:
        ModelError: a network cannot be brought into the runtime.
    """
    with pinned(threads), torch_threads(threads):
        ready = prepare(runtime, networks, files, threads)
        return _by_batch(runtime, ready, images, batches, threads, rounds, seconds)


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
        ready = {name: Prepared(onnxruntime_call(content, threads), len(content)) for name, content in contents.items()}
        return _by_batch("onnxruntime-cpu", ready, images, batches, threads, ROUNDS, SECONDS)


def _by_batch(
    runtime: str,
    ready: Mapping[str, Prepared],
    images: Tensor,
    batches: Sequence[int],
    threads: int,
    rounds: int,
    seconds: float,
) -> list[Latency]:
    found = []
    for batch in batches:
        given = images[:1].repeat(batch, *(1,) * (images.ndim - 1))
        found += _steady(runtime, ready, given, threads, rounds, seconds)
    return found


def _steady(
    runtime: str, ready: Mapping[str, Prepared], images: Tensor, threads: int, rounds: int, seconds: float
) -> list[Latency]:
    """Measure until the times are steady; after a few tries they are marked as not."""
    on_cpu = images.device.type == "cpu" and runtime != "tensorrt"
    clock = clock_for(threads) if on_cpu else time.perf_counter
    for _ in range(TRIES):
        with torch.inference_mode():
            times = take_turns([_Pass(each, images) for each in ready.values()], rounds, seconds, clock)
        steady = is_steady(times)
        if steady:
            break
    rows = []
    for (name, each), passes in zip(ready.items(), times, strict=True):
        low, middle, high = (1000 * value for value in quantiles(passes, n=4, method="inclusive"))
        row = Latency(name, len(images), threads, str(images.device), len(passes), middle, low, high)
        ratio, least, most = ratio_interval(times[0], passes)
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


class _Pass:
    """A pass of a network, until the accelerator is done."""

    def __init__(self, each: Prepared, images: Tensor) -> None:
        self._run, self._images = each.run, images

    def __call__(self) -> None:
        self._run(self._images)
        if self._images.device.type != "cpu":
            torch.accelerator.synchronize(self._images.device)


def is_steady(times: Sequence[Sequence[float]]) -> bool:
    """Whether times of the same work lie close together, and no later in the measurement than before."""
    third = len(times[0]) // 3
    drifts = [abs(median(each[-third:]) / median(each[:third]) - 1) for each in times]
    return median(map(spread, times)) <= WIDEST_SPREAD and median(drifts) <= LARGEST_DRIFT


def ratio_interval(dense: Sequence[float], other: Sequence[float]) -> tuple[float, float, float]:
    """Return how many times faster the second of two networks is, with a 95% interval.

    Both were called in each round, one after the other, so the ratio of a round is of one moment. The interval is that
    of the median by order statistics, which asks nothing of the distribution.

    Args:
        dense: seconds of the first, by round.
        other: seconds of the second.

    References:
        Hahn and Meeker, 1991, "Statistical Intervals", section 5.2.
    """
    ratios = sorted(a / b for a, b in zip(dense, other, strict=True))
    count = len(ratios)
    # The quantile of a binomial, as scipy.stats has it, which takes a second to import.
    below = max(int(np.searchsorted(bdtr(np.arange(count), count, 0.5), 0.025)) - 1, 0)
    return median(ratios), ratios[below], ratios[count - 1 - below]
