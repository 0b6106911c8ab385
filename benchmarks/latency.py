"""How well tables of latencies predict, and what half of the FLOPs is worth in a runtime, by rounding.

``python -m benchmarks.latency predict mobilenet resnet20``: 40 random networks that no table has seen, drawn from what
a search with ``round_to=auto`` chooses from; ``python -m benchmarks.latency speed resnet20``: networks of uniform
ratios within the target, timed in turn with the dense one. Weights are untrained: no time depends on them. Results:
benchmarks/latency.md.
"""

from argparse import ArgumentParser
from dataclasses import replace
from statistics import median

import numpy as np
import torch
from scipy.stats import spearmanr
from torch import nn

from amc.measurement.on_device import measure_networks, pinned
from amc.runtimes.prepared import OnnxFiles, on_cpu
from amc.runtimes.profile import KnownTable, LatencySource, Profile
from amc.runtimes.request import bare, channel_pruner, random_counts
from amc.runtimes.table import block_of
from amc.runtimes.timed_runs import time_networks
from amc.store.cache import cache_folder
from amc.zoo.models.registry import build_model
from baselines.uniform import uniform_trial
from envs.engine.settings import EngineSettings
from envs.engine.torch_engine import TorchEngine
from envs.engine.types import Evaluation
from envs.pruning_env import PruningEnv

NETWORKS = 40
UNREPAIRED = EngineSettings(reconstruct=False, adaptive_bn=0)


def make_engine(
    name: str, size: int, width: float, round_to: int | str | None, batch: int, table: bool = True
) -> "Timed":
    """Return the engine of an untrained network of the zoo, with its table of latencies."""
    torch.manual_seed(0)
    example = torch.randn(1, 1, size, size)
    network = build_model(name, 10, 1, width).eval()
    engine = TorchEngine(
        network, example, example, lambda _: Evaluation(0.0, 0.0, 1), replace(UNREPAIRED, round_to=round_to)
    )
    profile = Profile("onnxruntime-cpu", batch, 1, None, cache_folder(None) / "latency")
    source = LatencySource(profile)
    if table:
        source.attach(engine, example)
    return Timed(engine, profile, source.known, example)


class Timed:
    """An engine with its table."""

    def __init__(self, engine: TorchEngine, profile: Profile, known: KnownTable | None, example: torch.Tensor) -> None:
        self.engine, self.profile, self.known, self.example = engine, profile, known, example


def predict(name: str, size: int, width: float, batch: int) -> str:
    """Return a row: how far predictions of networks that the table has not seen are off."""
    timed = make_engine(name, size, width, "auto", batch)
    if timed.known is None:
        raise TypeError("no table")
    engine = timed.engine
    kept = random_counts(engine, NETWORKS + 1, seed=7)[1:]
    files = OnnxFiles(on_cpu(engine.pruner.for_inference(engine.model)), timed.example)
    with pinned(1):
        measured = np.array(
            measure_networks(
                files.template.described(), [files.template.shapes(bare(engine, each)) for each in kept], batch, 1
            )
        )
    model = timed.known.model
    predicted = np.array([1000 * model.seconds(channel_pruner(engine).timed_layers(each)) for each in kept])
    errors = np.abs(predicted / measured - 1)
    rank = spearmanr(predicted, measured).statistic
    return (
        f"| {name} | {batch} | {median(errors):.1%} | {np.quantile(errors, 0.9):.1%} | {rank:.3f} | "
        f"{measured.min():.3g} to {measured.max():.3g} ms | {block_of(timed.known.table)} |"
    )


def speed(name: str, size: int, width: float, target: float) -> list[str]:
    """Return rows: uniform ratios within a fraction of the FLOPs or of the latency, by rounding."""
    networks: dict[str, nn.Module] = {}
    kept: dict[str, str] = {}
    dense: nn.Module | None = None
    for label, round_to, resource in (
        ("FLOPs, round_to=1", 1, "flops"),
        ("FLOPs, default", None, "flops"),
        ("FLOPs, round_to=auto", "auto", "flops"),
        ("latency, round_to=auto", "auto", "latency"),
    ):
        timed = make_engine(name, size, width, round_to, 1, table=round_to == "auto")
        engine = timed.engine
        if dense is None:
            dense = engine.pruner.for_inference(engine.model)
            files = OnnxFiles(dense, timed.example)
            networks["dense"] = dense
        env = PruningEnv(engine, resource=resource, target=target)
        strategy = uniform_trial(env).strategy
        networks[label] = bare(engine, engine.kept(strategy))
        kept[label] = f"{engine.cost(strategy).flops / engine.cost(engine.dense_strategy).flops:.1%}"
    rows = time_networks("onnxruntime-cpu", networks, timed.example, files, batches=(1, 32), seconds=20)
    return [
        f"| {name} | {row.network} | {kept.get(row.network, '100%')} | {row.batch} | {row.median_ms:.3g} ms | "
        f"{row.speedup:.2f}x ({row.speedup_low:.2f}-{row.speedup_high:.2f}) |{'' if row.steady else ' unsteady'}"
        for row in rows
    ]


def main() -> None:
    """Print the rows that the command line asks for."""
    parser = ArgumentParser(prog="python -m benchmarks.latency")
    parser.add_argument("what", choices=("predict", "speed"))
    parser.add_argument("networks", nargs="+")
    parser.add_argument("--size", type=int, default=28, help="height and width of images")
    parser.add_argument("--width", type=float, default=1.0, help="multiplier on channels")
    parser.add_argument("--batch", type=int, default=1, help="for predict")
    parser.add_argument("--target", type=float, default=0.5, help="for speed")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    for name in asked.networks:
        if asked.what == "predict":
            print(predict(name, asked.size, asked.width, asked.batch), flush=True)
        else:
            print("\n".join(speed(name, asked.size, asked.width, asked.target)), flush=True)


if __name__ == "__main__":
    main()
