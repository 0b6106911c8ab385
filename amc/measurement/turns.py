"""Work timed in turns: what is compared shares the moments that it is timed in. NumPy and nothing else of others.

A machine's speed changes by a tenth within seconds, whoever else is on it. So calls take turns, round by round, and
what all calls of a round have in common is taken out. Each is timed behind itself, as it is in a loop of its own: a
small network behind a large one, which has taken its place in the caches, takes up to twice as long as that, so that
times would be those of the neighbours, too.
"""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from statistics import median

import numpy as np

WARMUP, FEWEST_ROUNDS = 3, 7


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
    fewest: int = FEWEST_ROUNDS,
) -> list[list[float]]:
    """Return the seconds of every call in every round, each made once more right before it is timed.

    Args:
        calls: what to time; warmed up here.
        rounds: at most so many.
        seconds: no further round after this long.
        clock: that tells what a call takes.
        fewest: rounds that there are even so.
    """
    for call in calls:
        for _ in range(WARMUP):
            call()
    times: list[list[float]] = [[] for _ in calls]
    end = time.perf_counter() + seconds
    for done in range(rounds):
        if done >= fewest and time.perf_counter() > end:
            break
        for place in range(len(calls)):
            index = (done + place) % len(calls)
            calls[index]()
            start = clock()
            calls[index]()
            times[index].append(max(clock() - start, TICK))
    return times


def steadied(times: Sequence[Sequence[float]]) -> list[list[float]]:
    """Return times without what made all calls of a round slower, or faster, than in the others.

    Args:
        times: of every call in every round, as ``take_turns`` returns them.
    """
    seconds = np.array(times)
    pace = np.median(seconds / np.median(seconds, axis=1, keepdims=True), axis=0)
    steady: list[list[float]] = (seconds / pace).tolist()
    return steady


def undisturbed(times: Sequence[float]) -> float:
    """Return the mean of the faster half: whatever disturbs makes slower, and the runtime's clock ticks coarsely."""
    ordered = sorted(times)
    faster = ordered[: max(1, len(ordered) // 2)]
    return sum(faster) / len(faster)


def fastest(times: Sequence[float]) -> float:
    """Return the mean of the fastest fiftieth, of three at the least: what a call takes where nothing disturbs it.

    What else a machine does only ever makes a call slower, and medians are those of the neighbours, too; of paired
    rounds as well, as a small network loses more of its time to them than a large one.

    References:
        Chen and Revels, 2016, "Robust benchmarking in noisy environments", arXiv 1608.04295.
    """
    ordered = sorted(times)[: max(3, len(times) // 50)]
    return sum(ordered) / len(ordered)


def spread(times: Sequence[float]) -> float:
    """Return the width of the middle half of times, relative to their median."""
    low, high = np.quantile(times, [0.25, 0.75])
    return float(high - low) / median(times)


def lower_spread(times: Sequence[float]) -> float:
    """Return how far the fastest tenth of times is from their median, relative to it."""
    return 1 - float(np.quantile(times, 0.1)) / median(times)
