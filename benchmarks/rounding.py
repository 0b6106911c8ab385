"""What the rule is worth that says in which steps channels go by default, beside others that it could be.

``python -m benchmarks.rounding mobilenet --size 8 --width 0.5`` and ``python -m benchmarks.rounding resnet20``: by each
rule uniform ratios and four random strategies, all at half of the FLOPs, timed in turn in onnxruntime. Rules are two
constants of ``envs.engine.pruners.steps``, which are set here. Weights are untrained: no time depends on them. Results:
benchmarks/latency.md.
"""

from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import mean
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from amc.runtimes.prepared import OnnxFiles
from amc.runtimes.request import bare
from amc.runtimes.timed_runs import time_networks
from benchmarks.latency import make_engine
from envs.constraint import rescale, uniform_strategy
from envs.costs.budget import ResourceBudget
from envs.engine.pruners import steps

STRATEGIES, TARGET, LEAST = 4, 0.5, 0.1
BATCHES = (1, 32)


class Rule(NamedTuple):
    """The coarsest step, halved for layers with fewer choices than that; or a step for all layers alike."""

    coarsest: int = steps.COARSEST
    choices: int = steps.FEWEST_CHOICES
    round_to: int | None = None


RULES = {
    "8, with eight choices": Rule(8, 8),
    "16, with eight choices": Rule(16, 8),
    "**16, with four choices**": Rule(),
    "`round_to=16`": Rule(round_to=16),
}


@contextmanager
def in_force(rule: Rule) -> Iterator[None]:
    """Let channels go by a rule."""
    before = steps.COARSEST, steps.FEWEST_CHOICES
    steps.COARSEST, steps.FEWEST_CHOICES = rule.coarsest, rule.choices
    try:
        yield
    finally:
        steps.COARSEST, steps.FEWEST_CHOICES = before


def compare(name: str, size: int, width: float) -> list[str]:
    """Return a row a rule: how many times as fast as dense uniform ratios are, and random strategies in the mean."""
    networks: dict[str, nn.Module] = {}
    for label, rule in RULES.items():
        with in_force(rule):
            timed = make_engine(name, size, width, rule.round_to, 1, table=False)
        engine, random = timed.engine, np.random.default_rng(0)
        if not networks:
            networks["dense"] = engine.pruner.for_inference(engine.model)
        budget = ResourceBudget(engine, "flops", TARGET, LEAST)
        drawn = [tuple(random.uniform(LEAST, 1, len(engine.layers))) for _ in range(STRATEGIES)]
        for number, strategy in enumerate(rescale(budget, each) for each in (uniform_strategy(budget), *drawn)):
            networks[f"{label} {number}"] = bare(engine, engine.kept(strategy))
    files = OnnxFiles(networks["dense"], timed.example)
    rows = time_networks("onnxruntime-cpu", networks, timed.example, files, batches=BATCHES, seconds=20)
    fast = {(row.network, row.batch): row.speedup for row in rows}
    found = []
    for label in RULES:
        uniform = [f"{fast[f'{label} 0', batch]:.2f}x" for batch in BATCHES]
        others = [
            f"{mean(fast[f'{label} {number}', batch] for number in range(1, STRATEGIES + 1)):.2f}x" for batch in BATCHES
        ]
        found.append(f"| {name} | {label} | {', '.join(uniform)} | {', '.join(others)} |")
    return found


def main() -> None:
    """Print the rows that the command line asks for."""
    parser = ArgumentParser(prog="python -m benchmarks.rounding")
    parser.add_argument("networks", nargs="+")
    parser.add_argument("--size", type=int, default=28, help="height and width of images")
    parser.add_argument("--width", type=float, default=1.0, help="multiplier on channels")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    for name in asked.networks:
        print("\n".join(compare(name, asked.size, asked.width)), flush=True)


if __name__ == "__main__":
    main()
