"""What it takes until the first episode: tracing, calibration, Gram matrices, Cholesky factors.

    python benchmarks/startup.py model=mobilenet
    python benchmarks/startup.py model=vgg16 --images 1000

The unit is one forward pass of the dense network over the same calibration images. Networks are untrained: nothing
here depends on what they have learnt. Peak memory is that of a process of its own.
"""

import argparse
import resource
import statistics
from collections.abc import Callable, Sequence

import torch
from rich.console import Console
from rich.table import Table
from setting import Clock, clocked, print_json

from amc.zoo.models.registry import build_model
from envs.engine.network.memory_layout import channels_last
from envs.engine.network.samples import Samples
from envs.engine.pruners.channel_pruner import ChannelPruner
from envs.engine.settings import EngineSettings


def peak_memory() -> float:
    """Return the most memory that this process ever held, in GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print a table and one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="model=mobilenet")
    parser.add_argument("--images", type=int, default=3000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args(arguments)
    torch.set_num_threads(args.threads)
    name = args.model.removeprefix("model=")
    model = build_model(name, num_classes=10, in_channels=1, width=1.0).eval()
    model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    images = channels_last(torch.randn(args.images, 1, 32, 32))

    @torch.inference_mode()
    def forward() -> None:
        for batch in images.split(100):
            model(batch)

    forward()
    before = peak_memory()
    clocks = {"forward": Clock([], []), "trace": Clock([], []), "all": Clock([], [])}
    work: dict[str, Callable[[], object]] = {
        "forward": forward,
        "trace": lambda: ChannelPruner(model, images[:1], Samples(images), EngineSettings(reconstruct=False)),
        "all": lambda: ChannelPruner(model, images[:1], Samples(images), EngineSettings()),
    }
    for _ in range(args.rounds):
        for key, step in work.items():
            clocked(clocks[key], step)
    seconds = {key: clock.median() for key, clock in clocks.items()}
    table = Table("stage", "CPU seconds", "forward passes")
    for key, value in seconds.items():
        table.add_row(key, f"{value:.2f}", f"{value / seconds['forward']:.2f}")
    Console().print(table)
    ratios = [every / one for every, one in zip(clocks["all"].cpu, clocks["forward"].cpu, strict=True)]
    print_json(
        {
            "model": name,
            "images": args.images,
            "passes": round(statistics.median(ratios), 2),
            "trace_seconds": round(seconds["trace"], 2),
            "seconds": round(seconds["all"], 2),
            "forward_seconds": round(seconds["forward"], 2),
            "peak_gb": round(peak_memory(), 2),
            "peak_gb_before": round(before, 2),
        }
    )


if __name__ == "__main__":
    main()
