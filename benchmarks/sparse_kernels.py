"""What 2 of 4 weights are worth on an NVIDIA GPU: products with sparse kernels beside dense ones, in half precision.

    python -m benchmarks.sparse_kernels

Linear layers of transformers and convolutions of a ResNet-50, masked to 2:4 by magnitude. Each is run as it is in
float16 and through ``amc.measurement.sparse_kernels.on_sparse_kernels``, which is what a run times, in turns; seconds
are medians by CUDA events. The last line of the output is JSON.
"""

import argparse
import json
from collections.abc import Callable, Sequence
from statistics import median

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from amc.measurement.sparse_kernels import InHalf, has_sparse_kernels, on_sparse_kernels
from benchmarks.setting import machine

TOKENS, IMAGES = 8192, 64
LAYERS: dict[str, tuple[Callable[[], nn.Linear | nn.Conv2d], tuple[int, ...]]] = {
    "linear 768 to 3072": (lambda: nn.Linear(768, 3072), (TOKENS, 768)),
    "linear 3072 to 768": (lambda: nn.Linear(3072, 768), (TOKENS, 3072)),
    "linear 4096 to 4096": (lambda: nn.Linear(4096, 4096), (TOKENS, 4096)),
    "linear 4096 to 14336": (lambda: nn.Linear(4096, 14336), (TOKENS, 4096)),
    "linear 14336 to 4096": (lambda: nn.Linear(14336, 4096), (TOKENS, 14336)),
    "convolution 256 to 256, 3x3, 14x14": (lambda: nn.Conv2d(256, 256, 3, padding=1), (IMAGES, 256, 14, 14)),
    "convolution 1024 to 256, 1x1, 14x14": (lambda: nn.Conv2d(1024, 256, 1), (IMAGES, 1024, 14, 14)),
}
TIMES = 30


def two_of_four(weight: Tensor) -> Tensor:
    """Return a weight in which of every four along a row the two of largest magnitude stay."""
    fours = weight.flatten(1).unflatten(1, (-1, 4))
    kept = fours.abs().topk(2, dim=2).indices
    return torch.zeros_like(fours).scatter(2, kept, fours.gather(2, kept)).view_as(weight)


def milliseconds(works: Sequence[Callable[[], object]]) -> list[float]:
    """Return the median time of each of some works on the GPU, which take turns."""
    spent: list[list[float]] = [[] for _ in works]
    for turn in range(TIMES + 5):
        for work, times in zip(works, spent, strict=True):
            begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            begin.record()
            work()
            end.record()
            torch.cuda.synchronize()
            if turn >= 5:  # libraries choose kernels
                times.append(begin.elapsed_time(end))
    return [median(times) for times in spent]


def measure(layer: nn.Linear | nn.Conv2d, shape: tuple[int, ...]) -> dict[str, float | bool]:
    """Return the milliseconds of a layer on dense and on sparse kernels, and how far their outputs are apart."""
    with torch.no_grad():
        layer.weight.copy_(two_of_four(layer.weight))
    network = nn.Sequential(layer).cuda().eval()
    inputs = torch.randn(shape, device="cuda")
    dense, sparse = InHalf(network), on_sparse_kernels(network)
    half = sparse.model
    with torch.inference_mode():
        exact = network(inputs)
        apart = float((half(inputs) - exact).norm() / exact.norm())
        times = milliseconds([lambda: dense(inputs), lambda: half(inputs)])
    return {"dense": times[0], "sparse": times[1], "apart": apart, "is_sparse": bool(sparse.layers)}


def main(given: Sequence[str] | None = None) -> None:
    """Time every layer, and print a table and one line of JSON."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.sparse_kernels",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.parse_args(given)
    if not torch.cuda.is_available() or not has_sparse_kernels(torch.device("cuda")):
        raise SystemExit("python -m benchmarks.sparse_kernels: this machine has no GPU with kernels for 2:4")
    torch.manual_seed(0)
    figures = {name: measure(make(), shape) for name, (make, shape) in LAYERS.items()}
    table = Table("layer", "dense, ms", "2:4, ms", "times as fast", "outputs apart")
    for name, found in figures.items():
        gain = found["dense"] / found["sparse"]
        table.add_row(name, f"{found['dense']:.3f}", f"{found['sparse']:.3f}", f"{gain:.2f}", f"{found['apart']:.1e}")
    Console(width=120).print(table)
    print(json.dumps({"layers": figures, "machine": machine()}))


if __name__ == "__main__":
    main()
