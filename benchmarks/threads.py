"""How to use the cores for one candidate: a batch on each, or each batch cut among all.

    python benchmarks/threads.py model=mobilenet data=fashion_mnist train.epochs=3

Wall seconds, so run it on a machine that does nothing else.
"""

import argparse
import os
from collections.abc import Sequence

import torch
from rich.console import Console
from rich.table import Table
from setting import Clock, clocked, make_setting, print_json
from torch import Tensor, nn

from envs.constraint import ResourceBudget, uniform_strategy
from envs.engine.network.memory_layout import channels_last
from envs.engine.scoring.parallel import run_batches
from envs.engine.scoring.precision import running_in
from envs.engine.scoring.top1 import Top1Scorer
from envs.engine.settings import EngineSettings
from envs.engine.torch_engine import TorchEngine

CPU = torch.device("cpu")
BATCH = 100


def cut(model: nn.Module, images: Tensor, threads: int) -> None:
    """Run one batch after the other, each on all threads."""
    torch.set_num_threads(threads)
    with torch.inference_mode():
        for batch in images.split(BATCH):
            model(batch)


def side_by_side(model: nn.Module, images: Tensor, threads: int) -> None:
    """Run as many batches at once as there are threads."""
    torch.set_num_threads(threads)
    batches = [slice(start, start + BATCH) for start in range(0, len(images), BATCH)]
    run_batches(lambda network, batch: network(images[batch]), model, batches, CPU)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the table, and one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--targets", type=float, nargs="+", default=[0.5, 0.2])
    parser.add_argument("keys", nargs="*", help="keys of amc.search")
    args = parser.parse_args(arguments)
    setting = make_setting(*args.keys)
    images = channels_last(setting.search)
    score = Top1Scorer(setting.search, setting.labels)
    settings = EngineSettings(reconstruct=False)
    engine = TorchEngine(setting.model, setting.calibration[:1], setting.calibration, score, settings)
    threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    ways = {
        "one thread": (cut, 1),
        f"each batch on {threads} threads": (cut, threads),
        f"{threads} batches at once": (side_by_side, threads),
    }
    table = Table("wall seconds", *(f"target {target}" for target in args.targets))
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for target in args.targets:
        budget = ResourceBudget(engine, "flops", target, 0.1)
        strategy = uniform_strategy(budget)
        model = engine.pruner.for_inference(engine.prune(strategy))
        clocks = {name: Clock([], []) for name in ways}
        with running_in(engine.precision, CPU):
            for _ in range(args.rounds):
                for name, (way, number) in ways.items():
                    clocked(clocks[name], lambda way=way, number=number, model=model: way(model, images, number))
        for name, clock in clocks.items():
            seconds[name].append(sorted(clock.wall)[len(clock.wall) // 2])
    for name, row in seconds.items():
        table.add_row(name, *(f"{one:.3f}" for one in row))
    Console().print(table)
    _, all_threads, at_once = seconds.values()
    figures = zip(args.targets, all_threads, at_once, strict=True)
    print_json({"precision": engine.precision} | {f"speedup_target_{t}": round(a / b, 3) for t, a, b in figures})


if __name__ == "__main__":
    main()
