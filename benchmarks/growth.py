"""How the seconds of an episode grow with images, layers, width and input size.

    python benchmarks/growth.py --picture growth.png

Every point is the median CPU time of an episode (slice, solve, adaptive batch norm on a tenth of the images, fold,
score) at uniform ratios; networks are untrained. What an episode computes is linear in images and in layers,
quadratic in width and in the side of the image: the slopes on a double logarithmic scale should be 1, 1, 2 and 2,
less where a part is too small to fill the machine's vectors.
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

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


@dataclass(frozen=True)
class Case:
    """One point: a network, and the images that it is scored on."""

    axis: str
    value: float
    model: nn.Module
    images: int
    side: int


def cases() -> Iterator[Case]:
    """Yield the points of every axis, smallest first."""
    for images in (500, 1000, 2000, 4000):
        yield Case("images", images, MobileNet(10, 3, 0.5), images, 32)
    for depth in (8, 14, 26, 50):
        yield Case("layers", depth, CifarResNet(10, 3, depth=depth), 500, 32)
    for width in (0.25, 0.5, 1.0, 2.0):
        yield Case("width", width, MobileNet(10, 3, width), 500, 32)
    for side in (16, 32, 64, 96):
        yield Case("input side", side, MobileNet(10, 3, 0.5), 500, side)


def episode_seconds(case: Case, rounds: int) -> tuple[float, float]:
    """Return the median CPU seconds of an episode, and the multiply-accumulates that it takes."""
    images = torch.randn(case.images, 3, case.side, case.side)
    scorer = Top1Scorer(images, torch.zeros(case.images, dtype=torch.int64))
    settings = EngineSettings(adaptive_bn=case.images // 10)
    engine = TorchEngine(case.model.eval(), images[:1], images[: case.images // 10], scorer, settings)
    strategy = (KEEP,) * len(engine.layers)
    clock = Clock([], [])
    for _ in range(rounds + 1):
        clocked(clock, lambda: engine.score_again(strategy))
    del clock.cpu[0]  # the first one solves
    return clock.median(), engine.cost(strategy).flops * case.images * 1.1


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Return the slope of a line through points on a double logarithmic scale."""
    x, y = np.log(np.array(points)).T
    return float(np.polyfit(x, y, 1)[0])


def draw(curves: dict[str, list[tuple[float, float]]], path: Path) -> None:
    """Draw one small picture an axis."""
    figure = Figure((10, 2.6), dpi=160, layout="constrained")
    for axes, (name, points) in zip(figure.subplots(1, len(curves)), curves.items(), strict=True):
        x, y = zip(*points, strict=True)
        axes.loglog(x, y, marker="o", color="#0072b2")
        axes.set_title(f"{name}: slope {slope(points):.2f}", fontsize=10)
        axes.set_xticks(x, [f"{value:g}" for value in x])
        axes.set_yticks(y, [f"{seconds:.2g}" for seconds in y])
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
    torch.set_num_threads(1)
    torch.manual_seed(0)
    table = Table("axis", "value", "CPU seconds", "GFLOP/s")
    curves: dict[str, list[tuple[float, float]]] = {}
    for case in cases():
        seconds, macs = episode_seconds(case, args.rounds)
        curves.setdefault(case.axis, []).append((case.value, seconds))
        table.add_row(case.axis, f"{case.value:g}", f"{seconds:.3f}", f"{2e-9 * macs / seconds:.0f}")
    Console().print(table)
    if args.picture:
        draw(curves, args.picture)
    print_json({"slopes": {name: round(slope(points), 2) for name, points in curves.items()}, "rounds": args.rounds})


if __name__ == "__main__":
    main()
