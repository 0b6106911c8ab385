"""How well tables of latencies predict, and what half of the FLOPs is worth in a runtime, by rounding.

``python -m benchmarks.latency predict mobilenet resnet20``: 40 random networks that no table has seen, drawn from what
a search with ``round_to=auto`` chooses from; ``python -m benchmarks.latency speed resnet20``: networks of uniform
ratios within the target, timed in turn with the dense one; ``python -m benchmarks.latency clock resnet20``: strategies
that take the target's share of the dense time by the table, and what the clock makes of them, timed once more;
``python -m benchmarks.latency fastest resnet20``: how fast any strategy of that many FLOPs can be, by prediction;
``python -m benchmarks.latency blocks resnet20``: how well the table predicts networks without some residual blocks,
of which it has seen none, and how fast those are that keep as many FLOPs as the target allows.
Weights are untrained: no time depends on them. Results: benchmarks/latency.md.
"""

import json
from argparse import ArgumentParser
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from statistics import median
from typing import NamedTuple

import numpy as np
import torch
from scipy.stats import spearmanr
from torch import nn

from amc.measurement.on_device import digest, measure
from amc.runtimes.fitting import fit
from amc.runtimes.measured_shares import MeasuredShares
from amc.runtimes.onnx_template import OnnxTemplate
from amc.runtimes.prepared import OnnxFiles, on_cpu
from amc.runtimes.profile import LatencySource, Profile
from amc.runtimes.request import bare, compact_pruner, random_counts
from amc.runtimes.table import block_of, parse_table
from amc.runtimes.timed_runs import ROUNDS, time_networks
from amc.store.cache import cache_folder
from amc.zoo.models.registry import build_model
from baselines.uniform import uniform_trial
from envs.constraint import ResourceBudget, rescale
from envs.costs.measured_time import fit_to_clock
from envs.engine.settings import EngineSettings
from envs.engine.torch_engine import TorchEngine
from envs.engine.types import Evaluation, Strategy
from envs.pruning_env import PruningEnv

NETWORKS = 40
DRAWN, CLOCKED, SHALLOW = 300, 5, 15
LEAST_OF_TARGET = 0.9
"""Of the FLOPs that the target allows, for what is the fastest with nearly as many."""
UNREPAIRED = EngineSettings(reconstruct=False, adaptive_bn=0)


def make_engine(
    name: str,
    size: int,
    width: float,
    round_to: int | str | None,
    batch: int,
    table: bool = True,
    granularity: str = "channel",
) -> "Timed":
    """Return the engine of an untrained network of the zoo, with its table of latencies."""
    torch.manual_seed(0)
    example = torch.randn(1, 1, size, size)
    network = build_model(name, 10, 1, width).eval()
    settings = replace(UNREPAIRED, round_to=round_to, granularity=granularity)
    engine = TorchEngine(network, example, example, lambda _: Evaluation(0.0, 0.0, 1), settings)
    profile = Profile("onnxruntime-cpu", batch, 1, None, cache_folder(None) / "latency")
    source = LatencySource(profile)
    if table:
        source.attach(engine, example)
    return Timed(engine, profile, example)


class Timed(NamedTuple):
    """An engine, how its latency is measured, and an input."""

    engine: TorchEngine
    profile: Profile
    example: torch.Tensor


def predict(name: str, size: int, width: float, batch: int) -> str:
    """Return a row: how far predictions of networks that the table has not seen are off.

    They are timed in turn with those that the table's factors are fitted to, so that both meet the same machine.
    """
    timed = make_engine(name, size, width, "auto", batch)
    engine = timed.engine
    request = timed.profile.request(engine, timed.example)
    template = OnnxTemplate(on_cpu(engine.pruner.for_inference(engine.model)), timed.example)
    unseen = random_counts(engine, NETWORKS + 1, seed=7)
    fitted = len(request["variants"])
    rows = [{"kept": each, "layers": [], "shapes": template.shapes(bare(engine, each))} for each in unseen]
    table = measure({**request, "variants": request["variants"] + rows})
    measured = np.array([row["ms"] for row in table["networks"][fitted:]])
    content = {key: value for key, value in table.items() if key != "sha256"} | {"networks": table["networks"][:fitted]}
    known = parse_table(json.dumps({**content, "sha256": digest(content)}), name)
    model = fit(known)
    predicted = np.array([1000 * model.seconds(compact_pruner(engine).timed_layers(each)) for each in unseen])
    errors = np.abs(predicted / measured - 1)[1:]
    # What targets are about: fractions of the dense network's time, which stands first.
    shares = np.abs((predicted / predicted[0]) / (measured / measured[0]) - 1)[1:]
    rank = spearmanr(predicted[1:], measured[1:]).statistic
    return (
        f"| {name} | {batch} | {median(errors):.1%} | {np.quantile(errors, 0.9):.1%} | {median(shares):.1%} | "
        f"{rank:.3f} | {measured[1:].min():.3g} to {measured[1:].max():.3g} ms | {block_of(known)} |"
    )


def speed(name: str, size: int, width: float, target: float) -> list[str]:
    """Return rows: uniform ratios within a fraction of the FLOPs, of the latency, or of both, by rounding."""
    networks: dict[str, nn.Module] = {}
    kept: dict[str, str] = {}
    dense: nn.Module | None = None
    for label, round_to, resource, limits in (
        ("FLOPs, round_to=1", 1, "flops", {}),
        ("FLOPs, default", None, "flops", {}),
        ("FLOPs, round_to=16", 16, "flops", {}),
        ("FLOPs, round_to=auto", "auto", "flops", {}),
        ("latency, round_to=auto", "auto", "latency", {}),
        ("FLOPs and latency, round_to=auto", "auto", "flops", {"latency": target}),
    ):
        timed = make_engine(name, size, width, round_to, 1, table=round_to == "auto")
        engine = timed.engine
        if dense is None:
            dense = engine.pruner.for_inference(engine.model)
            files = OnnxFiles(dense, timed.example)
            networks["dense"] = dense
        env = PruningEnv(engine, resource=resource, target=target, limits=limits)
        strategy = uniform_trial(env).strategy
        networks[label] = bare(engine, engine.kept(strategy))
        kept[label] = f"{engine.cost(strategy).flops / engine.cost(engine.dense_strategy).flops:.1%}"
    rows = time_networks("onnxruntime-cpu", networks, timed.example, files, batches=(1, 32), seconds=20)
    return [
        f"| {name} | {row.network} | {kept.get(row.network, '100%')} | {row.batch} | {row.median_ms:.3g} ms | "
        f"{row.speedup:.2f}x ({row.speedup_low:.2f}-{row.speedup_high:.2f}) |{'' if row.steady else ' unsteady'}"
        for row in rows
    ]


def clock(name: str, size: int, width: float, target: float) -> list[str]:
    """Return a row for the table and one for the clock: how far from the target of latency their networks are.

    Strategies are those of many random ones that keep most FLOPs within the time that the table predicts: a search
    finds such as the table takes for faster than they are. All are timed in turn once the clock has chosen.
    """
    timed = make_engine(name, size, width, "auto", 1)
    engine, random = timed.engine, np.random.default_rng(0)
    budget = PruningEnv(engine, resource="latency", target=target).budget
    drawn = [rescale(budget, tuple(random.uniform(0.1, 1.0, len(engine.layers)))) for _ in range(DRAWN)]
    best = sorted(dict.fromkeys(drawn), key=lambda each: -engine.cost(each).flops)[:CLOCKED]
    shares = MeasuredShares(timed.profile, engine, timed.example, ROUNDS)

    def measure(strategies: Sequence[Strategy]) -> list[float]:
        return shares.of(engine, [engine.kept(each) for each in strategies])

    fitted = [fit_to_clock(each, partial(_rescaled, each), budget, target, measure)[0].strategy for each in best]
    again = np.array(measure([*best, *fitted])) / target
    return [
        f"| {name} | {label} | {off.mean() * target:.1%} | {np.abs(off - 1).mean():.1%} | {np.abs(off - 1).max():.1%} |"
        for label, off in (("by the table", again[: len(best)]), ("by the clock", again[len(best) :]))
    ]


def blocks(name: str, size: int, width: float, target: float) -> str:
    """Return a row: how far predictions of networks without some blocks are off, and how fast they are."""
    timed = make_engine(name, size, width, "auto", 1, granularity="channel_block")
    engine, random = timed.engine, np.random.default_rng(0)
    budget = PruningEnv(engine, target=target).budget
    drawn: list[Strategy] = []
    while len(drawn) < SHALLOW:
        keeps = random.uniform(0.4, 1.0, len(engine.layers))
        gone = random.random(len(engine.layers)) < 0.5
        wanted = [
            float(not out) if each.is_block else k for each, k, out in zip(engine.layers, keeps, gone, strict=True)
        ]
        drawn.append(rescale(budget, tuple(wanted)))
    shares = MeasuredShares(timed.profile, engine, timed.example, ROUNDS)
    measured = np.array(shares.of(engine, [engine.kept(each) for each in drawn]))
    costs, dense = [engine.cost(each) for each in drawn], engine.cost(engine.dense_strategy)
    predicted = np.array([(cost.latency or 0.0) / (dense.latency or 1.0) for cost in costs])
    errors = np.abs(predicted / measured - 1)
    flops = np.mean([cost.flops for cost in costs]) / dense.flops
    fast = 1 / measured
    return (
        f"| {name} | {flops:.1%} | {median(errors):.1%} | {errors.max():.1%} | "
        f"{spearmanr(predicted, measured).statistic:.2f} | {median(fast):.2f}x ({fast.min():.2f}-{fast.max():.2f}) |"
    )


def _rescaled(strategy: Strategy, budget: ResourceBudget) -> Strategy:
    return rescale(budget, strategy)


def fastest(name: str, size: int, width: float, target: float) -> str:
    """Return a row: the least predicted time of any strategy that keeps nearly as many FLOPs as the target allows.

    Strategies are improved layer by layer from random ones, and with fewer FLOPs they are none.
    """
    timed = make_engine(name, size, width, "auto", 1)
    engine, random = timed.engine, np.random.default_rng(0)
    dense = engine.cost(engine.dense_strategy)
    ratios = [[count / layer.units for count in layer.choices] for layer in engine.layers]

    def badness(strategy: Sequence[float]) -> float:
        cost = engine.cost(tuple(strategy))
        flops = cost.flops / dense.flops
        beyond = max(0.0, flops - target, LEAST_OF_TARGET * target - flops)
        return (cost.latency or 0.0) / (dense.latency or 1.0) + 10 * beyond

    best = min(
        (_improved([float(random.choice(each)) for each in ratios], ratios, badness) for _ in range(12)), key=badness
    )
    kept = engine.cost(tuple(best))
    return (
        f"| {name} | fastest by prediction | {kept.flops / dense.flops:.1%} | 1 | | "
        f"{(dense.latency or 0.0) / (kept.latency or 1.0):.2f}x |"
    )


def _improved(
    strategy: list[float], ratios: Sequence[Sequence[float]], badness: Callable[[Sequence[float]], float]
) -> list[float]:
    """Return a strategy that no change of one layer makes better."""
    before = float("inf")
    while badness(strategy) < before - 1e-9:
        before = badness(strategy)
        for step, choices in enumerate(ratios):
            near = [[*strategy[:step], ratio, *strategy[step + 1 :]] for ratio in choices]
            strategy = min(near, key=badness)
    return strategy


def main() -> None:
    """Print the rows that the command line asks for."""
    parser = ArgumentParser(prog="python -m benchmarks.latency")
    parser.add_argument("what", choices=("predict", "speed", "clock", "fastest", "blocks"))
    parser.add_argument("networks", nargs="+")
    parser.add_argument("--size", type=int, default=28, help="height and width of images")
    parser.add_argument("--width", type=float, default=1.0, help="multiplier on channels")
    parser.add_argument("--batch", type=int, default=1, help="for predict")
    parser.add_argument("--target", type=float, default=0.5, help="for speed, clock and fastest")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    for name in asked.networks:
        if asked.what == "predict":
            print(predict(name, asked.size, asked.width, asked.batch), flush=True)
        elif asked.what == "fastest":
            print(fastest(name, asked.size, asked.width, asked.target), flush=True)
        elif asked.what == "blocks":
            print(blocks(name, asked.size, asked.width, asked.target), flush=True)
        elif asked.what == "clock":
            print("\n".join(clock(name, asked.size, asked.width, asked.target)), flush=True)
        else:
            print("\n".join(speed(name, asked.size, asked.width, asked.target)), flush=True)


if __name__ == "__main__":
    main()
