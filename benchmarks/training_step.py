"""A step of training: in float32, in torch's own bfloat16, and in the mixed precision that runs train in.

    python -m benchmarks.training_step
    python -m benchmarks.training_step --networks mobilenet_v2 --width 1.0 --batch-size 64

CPU milliseconds of the fastest of several steps on random images of 32x32, forward and backward, on one core; the ways
take turns.
"""

import argparse
import json
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from amc.measurement.turns import fastest, take_turns
from amc.training.mixed_precision import mixed_precision
from amc.zoo.models.registry import build_model
from benchmarks.setting import machine
from envs.engine.network.memory_layout import lay_out

NETWORKS = ("resnet20", "vgg16", "mobilenet", "mobilenet_v2")
CPU = torch.device("cpu")


WAYS: dict[str, Callable[[], AbstractContextManager[None]]] = {
    "float32": nullcontext,
    "bfloat16": lambda: torch.autocast("cpu", torch.bfloat16),
    "mixed": lambda: mixed_precision(CPU, enabled=True),
}
"""What a step is taken inside of."""


def step(model: nn.Module, images: Tensor, way: str) -> None:
    """Take the gradients of a loss."""
    model.zero_grad(set_to_none=True)
    with WAYS[way]():
        loss = model(images).logsumexp(1).mean()
    loss.backward()


def milliseconds(network: str, width: float, batch_size: int, rounds: int) -> dict[str, float]:
    """Return what a step takes, by way."""
    model, images = build_model(network, 10, 3, width).train(), torch.randn(batch_size, 3, 32, 32)
    images = lay_out(model, images)(images)
    times = take_turns([partial(step, model, images, way) for way in WAYS], rounds, clock=time.process_time)
    return {way: round(1000 * fastest(each), 1) for way, each in zip(WAYS, times, strict=True)}


def main(given: Sequence[str] | None = None) -> None:
    """Measure, print the table, and one line of JSON."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.training_step",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--networks", nargs="+", default=NETWORKS)
    parser.add_argument("--width", type=float, default=0.5)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=7)
    args = parser.parse_args(given)
    torch.set_num_threads(1)
    found = {name: milliseconds(name, args.width, args.batch_size, args.rounds) for name in args.networks}
    table = Table("network", *WAYS, title=f"CPU ms a step of {args.batch_size} images")
    for name, row in found.items():
        table.add_row(name, *(f"{each:.0f}" for each in row.values()))
    Console().print(table)
    print(json.dumps({"milliseconds": found, "machine": machine()}))


if __name__ == "__main__":
    main()
