"""What a network's time depends on beside the network: whom it runs behind, and which of its passes are looked at.

``python -m benchmarks.turns``: a MobileNet-V1 of the digits, and uniform ratios at a quarter of its FLOPs.
First the pruned network three times in one round, behind dense and behind itself, in three orders; then how well the
same ratio repeats from window to window, by which passes it is taken from. Results: benchmarks/latency.md.
"""

from collections.abc import Callable, Sequence
from functools import partial
from statistics import median

import numpy as np
import torch
from numpy.typing import NDArray

from amc.measurement.turns import clock_for, fastest, pinned
from amc.runtimes.prepared import OnnxFiles, onnxruntime_call
from amc.runtimes.request import bare
from benchmarks.latency import make_engine
from envs.constraint import uniform_strategy
from envs.costs.budget import ResourceBudget

SIZE, WIDTH, TARGET = 8, 0.5, 0.25
WINDOWS, LOADS, ROUNDS = 8, 9, 60
Times = NDArray[np.float64]
Order = Callable[[int, int], Sequence[int]]
ORDERS: dict[str, tuple[Order, bool]] = {
    "each behind its neighbour": (lambda done, count: [(done + place) % count for place in range(count)], False),
    "drawn anew each round": (lambda done, count: np.random.default_rng(done).permutation(count).tolist(), False),
    "each behind itself": (lambda done, count: [(done + place) % count for place in range(count)], True),
}
PASSES: dict[str, Callable[[Sequence[Times]], float]] = {
    "median of paired rounds": lambda loads: median(float(np.median(load[1] / load[0])) for load in loads),
    "lowest tenth": lambda loads: _pooled(loads, lambda times: float(np.quantile(times, 0.1))),
    "fastest": lambda loads: _pooled(loads, fastest),
}


def timed(calls: Sequence[Callable[[], object]], order: Order, rounds: int, *, behind_itself: bool) -> Times:
    """Return the seconds of calls, shape ``(calls, rounds)``."""
    clock = clock_for(1)
    found = np.zeros((len(calls), rounds))
    for done in range(-3, rounds):
        for index in order(max(done, 0), len(calls)):
            if behind_itself:
                calls[index]()
            start = clock()
            calls[index]()
            found[index, max(done, 0)] = clock() - start
    return found


def _pooled(loads: Sequence[Times], of: Callable[[Sequence[float]], float]) -> float:
    dense, other = np.concatenate(loads, axis=1)
    return of(other.tolist()) / of(dense.tolist())


def main() -> None:
    """Print a row an order, and a row a way to look at passes."""
    torch.set_num_threads(1)
    engine, _, example = make_engine("mobilenet", SIZE, WIDTH, None, 1, table=False)
    dense = engine.pruner.for_inference(engine.model)
    small = bare(engine, engine.kept(uniform_strategy(ResourceBudget(engine, "flops", TARGET, 0.1))))
    files = OnnxFiles(dense, example)
    contents = [files.of(network) for network in (dense, small)]

    def loaded(*numbers: int) -> list[Callable[[], object]]:
        runs = [onnxruntime_call(contents[number], 1) for number in numbers]
        return [partial(run, example) for run in runs]

    with pinned(1):
        for name, (order, behind_itself) in ORDERS.items():
            times = np.median(timed(loaded(0, 1, 1, 1), order, 2 * ROUNDS, behind_itself=behind_itself), axis=1)
            print(f"| {name} | {' | '.join(f'{times[0] / each:.2f}x' for each in times[1:])} |", flush=True)
        order, behind_itself = ORDERS["each behind itself"]
        windows = [
            [timed(loaded(0, 1), order, ROUNDS, behind_itself=behind_itself) for _ in range(LOADS)]
            for _ in range(WINDOWS)
        ]
    for name, ratio in PASSES.items():
        found = np.array([ratio(loads) for loads in windows])
        print(f"| {name} | {found.min():.3f} to {found.max():.3f} | {found.std() / found.mean():.1%} |")


if __name__ == "__main__":
    main()
