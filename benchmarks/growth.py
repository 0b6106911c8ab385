"""How the seconds of an episode grow with images, layers, width and input size, and what bounds each.

    python benchmarks/growth.py --picture growth.png          # half an hour on one core, 6 GB

Every point is the median CPU time of an episode (slice, solve, adaptive batch norm on a tenth of the images, fold,
score) at uniform ratios, in a process of its own; networks are untrained. What an episode computes is linear in images
and in layers, quadratic in width and in the side of the image: the slopes on a double logarithmic scale should be 1, 1,
2 and 2, less where a part is too small to fill the machine's vectors. Images of a batch are as many as have the pixels
of a hundred of side 96, and at most a hundred.
"""

import argparse
import multiprocessing
import resource
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table
from setting import Clock, clocked, print_json
from torch import nn

from amc.zoo.models.mobilenet import MobileNet
from amc.zoo.models.resnet import CifarResNet
from envs.engine.scoring.top1 import Top1Scorer
from envs.engine.settings import EngineSettings
from envs.engine.torch_engine import TorchEngine

KEEP = 0.7
BATCH, BATCH_SIDE = 100, 96


class Case(NamedTuple):
    """One point: how to make the network, and the images that it is scored on."""

    axis: str
    value: float
    make: Callable[[], nn.Module]
    images: int
    side: int


class Measured(NamedTuple):
    """What a case takes.

    Attributes:
        seconds: CPU seconds of an episode.
        scoring: of these, what folding and the forward passes of scoring take.
        start: CPU seconds of tracing, calibration and what is solved once.
        macs: multiply-accumulates of an episode.
        peak: memory of the process at its peak, in GB.
    """

    seconds: float
    scoring: float
    start: float
    macs: float
    peak: float


def cases() -> Iterator[Case]:
    """Yield the points of every axis, smallest first."""
    half = partial(MobileNet, 10, 3, 0.5)
    for images in (500, 1000, 2000, 4000, 12000, 40000):
        yield Case("images", images, half, images, 32)
    for depth in (8, 14, 26, 50, 152, 500):
        yield Case("layers", depth, partial(CifarResNet, 10, 3, depth=depth), 500, 32)
    for width in (0.25, 0.5, 1.0, 2.0, 4.0, 8.0):
        yield Case("width", width, partial(MobileNet, 10, 3, width), 500, 32)
    for side in (16, 32, 64, 96, 320, 960):
        yield Case("input side", side, half, 100, side)


def measure(case: Case, rounds: int) -> Measured:
    """Measure a case in this process, which should run nothing else."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    images = torch.randn(case.images, 3, case.side, case.side)
    batch = min(BATCH, max(1, BATCH * BATCH_SIDE**2 // case.side**2))
    scorer = Top1Scorer(images, torch.zeros(case.images, dtype=torch.int64), batch_size=batch)
    start, pruning, scoring = Clock([], []), Clock([], []), Clock([], [])
    calibration = images[: case.images // 10]
    settings = EngineSettings(adaptive_bn=len(calibration))
    model = case.make().eval()
    engine = clocked(start, lambda: TorchEngine(model, images[:1], calibration, scorer, settings))
    strategy = (KEEP,) * len(engine.layers)
    for _ in range(rounds + 1):
        pruned = clocked(pruning, lambda: engine.prune(strategy))
        clocked(scoring, lambda network=pruned: engine.score_network(network))
    del pruning.cpu[0], scoring.cpu[0]  # the first one solves
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    macs = engine.cost(strategy).flops * case.images * 1.1
    return Measured(pruning.median() + scoring.median(), scoring.median(), start.median(), macs, peak)


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Return the slope of a line through points on a double logarithmic scale."""
    x, y = np.log(np.array(points)).T
    return float(np.polyfit(x, y, 1)[0])


def draw(curves: dict[str, list[tuple[float, float]]], path: Path) -> None:
    """Draw one small picture an axis."""
    figure = Figure((12, 2.8), dpi=160, layout="constrained")
    for axes, (name, points) in zip(figure.subplots(1, len(curves)), curves.items(), strict=True):
        x, y = zip(*points, strict=True)
        axes.loglog(x, y, marker="o", color="#0072b2")
        axes.set_title(f"{name}: slope {slope(points):.2f}", fontsize=10)
        axes.set_xticks(x, [f"{value:g}" for value in x], fontsize=7)
        axes.set_yticks(y, [f"{seconds:.2g}" for seconds in y], fontsize=7)
        axes.minorticks_off()
        axes.spines[["top", "right"]].set_visible(False)
    figure.axes[0].set_ylabel("CPU seconds an episode")
    figure.savefig(path, format="png")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print a table, draw, and print one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--picture", type=Path, help="PNG to write")
    args = parser.parse_args(arguments)
    columns = ("axis", "value", "CPU seconds", "scoring", "GFLOP/s", "start-up seconds", "peak GB")
    table = Table(*columns)
    curves: dict[str, list[tuple[float, float]]] = {}
    fresh = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, fresh, max_tasks_per_child=1) as pool:
        for case in cases():
            found = pool.submit(measure, case, args.rounds).result()
            curves.setdefault(case.axis, []).append((case.value, found.seconds))
            rate = 2e-9 * found.macs / found.seconds
            cells = (f"{found.scoring / found.seconds:.0%}", f"{rate:.0f}", f"{found.start:.1f}", f"{found.peak:.2f}")
            table.add_row(case.axis, f"{case.value:g}", f"{found.seconds:.3f}", *cells)
            Console(stderr=True).print(case.axis, case.value, *found)
    Console().print(table)
    if args.picture:
        draw(curves, args.picture)
    print_json({"slopes": {name: round(slope(points), 2) for name, points in curves.items()}, "rounds": args.rounds})


if __name__ == "__main__":
    main()
