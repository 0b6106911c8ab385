"""Pointwise convolutions in bfloat16: by oneDNN's convolution, with weights laid out once, and as a matrix product.

    python benchmarks/pointwise.py
    python benchmarks/pointwise.py --sides 4 16 --channels 24x32 512x512 --precision fp32

Milliseconds of the fastest of several passes over 100 images, on one core.
"""

import argparse
from collections.abc import Callable, Sequence

import torch
from rich.console import Console
from rich.table import Table
from setting import Clock, clocked, print_json
from torch import Tensor, nn

from envs.engine.scoring.packed_convolution import Kernels, PackedConv2d, Way

IMAGES = 100
CHANNELS = ("16x16", "24x32", "37x113", "64x64", "96x96", "256x256", "512x512", "1024x160")


def packed(convolution: nn.Conv2d, way: Way) -> nn.Module:
    """Return a copy of a convolution that is computed in one way."""

    class Fixed(PackedConv2d):
        def _way(self, images: Tensor) -> Way:  # noqa: ARG002  whatever they are
            return way

    fixed = Fixed(convolution.in_channels, convolution.out_channels, 1)
    fixed.load_state_dict(convolution.state_dict())
    fixed.activation, fixed.kernels = nn.ReLU, Kernels()
    return fixed


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the table, and one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sides", type=int, nargs="+", default=[2, 4, 8, 14])
    parser.add_argument("--channels", nargs="+", default=CHANNELS, help="in and out, such as 24x32")
    parser.add_argument("--precision", choices=["bf16", "fp32"], default="bf16")
    parser.add_argument("--rounds", type=int, default=10)
    args = parser.parse_args(arguments)
    torch.set_num_threads(1)
    table = Table("side", "channels", "torch, ReLU apart", *(way.name.lower().replace("_", " ") for way in Way))
    rows = []
    for side in args.sides:
        for channels in args.channels:
            inputs, outputs = map(int, channels.split("x"))
            times = milliseconds(inputs, outputs, side, args.precision == "bf16", args.rounds)
            rows.append({"side": side, "channels": channels, **times})
            table.add_row(str(side), channels, *(f"{time:.3f}" for time in times.values()))
    Console().print(table)
    print_json({"rows": rows})


def milliseconds(inputs: int, outputs: int, side: int, is_reduced: bool, rounds: int) -> dict[str, float]:
    """Return what each way takes; they take turns."""
    plain = nn.Conv2d(inputs, outputs, 1)
    images = torch.randn(IMAGES, inputs, side, side).contiguous(memory_format=torch.channels_last)
    ways: dict[str, Callable[[Tensor], Tensor]] = {"torch": nn.Sequential(plain, nn.ReLU())}
    ways |= {way.name.lower(): packed(plain, way) for way in Way}
    clocks = {name: Clock([], []) for name in ways}
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=is_reduced):
        images = images.bfloat16() if is_reduced else images
        for _ in range(rounds):
            for name, way in ways.items():
                way(images)
                clocked(clocks[name], lambda way=way: way(images))
    return {name: round(1000 * min(clock.cpu), 3) for name, clock in clocks.items()}


if __name__ == "__main__":
    main()
