"""Which networks of torchvision, timm, transformers and diffusers can be pruned: each to half of its FLOPs, checked.

    pip install 'amc-search[zoo]' transformers diffusers
    python benchmarks/zoo.py --output benchmarks/zoo.md
    python benchmarks/zoo.py --only torchvision/resnet18 timm/mobilenetv2_100

Where the layers that can lose channels are too small a part of a network for half, the first of 60, 70, 80, 90 and 95%
that can be met is taken. Weights are random, batch norms have statistics of two random inputs. Every network runs in a
process of its own with a limit on its time, so that none can spoil the others. What is checked, beside that it can be
traced and pruned:

- shape: the small network's output is shaped as the dense one's;
- agrees: it says what the dense network does that reads zeros instead of the channels that went, to 1e-4 of its
  largest output, in double precision, on inputs that tracing has not seen;
- flops: the engine's count is that of torch's own counter on the small network, halved;
- params: and so is the number of parameters;
- trains: a step of gradient descent leaves finite weights, and changes some;
- untouched: weights, statistics, mode and output of the dense network are what they were.
"""

import argparse
import copy
import importlib.util
import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from setting import print_json
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from zoo_networks import NETWORKS, build, describe_inputs, inputs_of

from envs.constraint import ResourceBudget, TargetError, uniform_strategy
from envs.engine.costs.cost_model import multiply_accumulates
from envs.engine.errors import GraphError
from envs.engine.network.batches import take
from envs.engine.network.calls import Inputs, flatten_outputs, forward, map_tensors
from envs.engine.pruners.channel_pruner import ChannelPruner
from envs.engine.scoring.top1 import metric_scorer
from envs.engine.settings import EngineSettings
from envs.engine.torch_engine import TorchEngine
from envs.engine.types import Strategy

LIBRARIES = ("timm", "torchvision", "transformers", "diffusers")
TARGETS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
MIN_KEEP, TOLERANCE = 0.1, 1e-4


def settle(model: nn.Module, inputs: Inputs) -> nn.Module:
    """Give batch norms statistics and biases: with fresh ones a channel of zeros and an absent one look alike."""
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)]
    for norm in norms:
        if norm.affine:
            nn.init.normal_(norm.bias, std=0.1)
            nn.init.uniform_(norm.weight, 0.5, 1.5)
        norm.momentum = 1.0
    with torch.no_grad():
        forward(model.train(), inputs)
    for norm in norms:
        norm.momentum = 0.1
    return model.eval()


def examine(name: str) -> dict[str, Any]:
    """Prune one network and return its row."""
    model = settle(build(name), inputs_of(name, 2))
    images = inputs_of(name, 2)
    before, said = copy.deepcopy(model.state_dict()), outputs_of(model, images)
    row: dict[str, Any] = {"model": name, "size": describe_inputs(name)}
    started = time.perf_counter()
    settings = EngineSettings(reconstruct=False, adaptive_bn=0)
    try:
        engine = TorchEngine(model, take(images, slice(1)), images, metric_scorer(lambda _: 0.5), settings)
        row["trace_seconds"] = time.perf_counter() - started
        row |= {"layers": len(engine.layers), "whole": share_whole(engine)}
        target, strategy = uniform(engine)
    except (GraphError, TargetError) as error:
        return row | {"outcome": "refused", "reason": str(error)}
    started = time.perf_counter()
    small = engine.prune(strategy)
    row["compact_seconds"] = time.perf_counter() - started
    row["kept"] = engine.cost(strategy).flops / engine.cost(engine.dense_strategy).flops
    row["checks"] = {
        **check(engine, strategy, small, images),
        "untouched": not model.training
        and all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
        and all(map(torch.equal, outputs_of(model, images), said)),
    }
    outcome = "pruned" if target == TARGETS[0] else "partly"
    return row | {"outcome": outcome if all(row["checks"].values()) else "broken", "target": target}


def uniform(engine: TorchEngine) -> tuple[float, Strategy]:
    """Return equal ratios, and the share of the FLOPs that they may keep: half, or the first that can be met.

    Raises:
        TargetError: none can be met.
    """
    for target in TARGETS:
        try:
            budget = ResourceBudget(engine, "flops", target, MIN_KEEP)
            break
        except TargetError:
            if target == TARGETS[-1]:
                raise
    return target, uniform_strategy(budget)


def share_whole(engine: TorchEngine) -> float:
    """Return the share of the FLOPs in layers that lose channels on no side, the network's head and stem included."""
    assert isinstance(engine.pruner, ChannelPruner)
    graph = engine.pruner.graph
    shrinking = {member.module for group in graph.groups for member in group.members}
    modules = dict(engine.model.named_modules())
    rest = graph.flops - sum(multiply_accumulates(modules[name], graph.calls[name]) for name in shrinking)
    return (rest - sum(group.flops * group.units for group in graph.groups)) / graph.flops


def check(engine: TorchEngine, strategy: Strategy, small: nn.Module, inputs: Inputs) -> dict[str, bool]:
    """Return which checks of the docstring the small network passes."""
    assert isinstance(engine.pruner, ChannelPruner)
    masked = engine.pruner.mask(engine.kept(strategy))
    double = map_tensors(inputs, lambda tensor: tensor.double() if tensor.is_floating_point() else tensor)
    found, expected = (outputs_of(copy.deepcopy(net).double(), double) for net in (small, masked))
    # The fused kernels of attention are counted by some torch versions only.
    with FlopCounterMode(display=False) as counter, torch.enable_grad(), sdpa_kernel(SDPBackend.MATH):
        forward(copy.deepcopy(small), take(inputs, slice(1)))
    cost = engine.cost(strategy)
    return {
        "shape": [each.shape for each in found] == [each.shape for each in outputs_of(engine.model, inputs)],
        "agrees": all(
            float((a - b).abs().max()) <= TOLERANCE * float(b.abs().max()) for a, b in zip(found, expected, strict=True)
        ),
        "flops": abs(counter.get_total_flops() / 2 - cost.flops) <= 1e-9 * cost.flops,
        "params": cost.params == sum(parameter.numel() for parameter in small.parameters()),
        "trains": trains(small, inputs),
    }


def trains(small: nn.Module, inputs: Inputs) -> bool:
    """Whether a training step leaves finite weights that are not all the same as before."""
    net = copy.deepcopy(small).train()
    before = [parameter.detach().clone() for parameter in net.parameters()]
    optimizer = torch.optim.SGD(net.parameters(), 1e-3)
    floats = [each for each in flatten_outputs(forward(net, inputs)) if each.is_floating_point() and each.requires_grad]
    torch.stack([each.float().square().mean() for each in floats]).sum().backward()
    optimizer.step()
    after = list(net.parameters())
    moved = any(not torch.equal(a, b) for a, b in zip(before, after, strict=True))
    return moved and all(bool(parameter.isfinite().all()) for parameter in after)


@torch.no_grad()
def outputs_of(model: nn.Module, inputs: Inputs) -> list[Tensor]:
    """Return what a network in eval mode makes of its inputs."""
    return flatten_outputs(forward(model, inputs))


def apart(name: str, seconds: float) -> dict[str, Any]:
    """Examine one network in a process of its own."""
    command = [sys.executable, __file__, "--one", name]
    row = {"model": name, "size": describe_inputs(name), "outcome": "broken"}
    try:
        process = subprocess.run(command, capture_output=True, text=True, timeout=seconds)  # noqa: S603  this script
    except subprocess.TimeoutExpired:
        return row | {"reason": f"not done in {seconds:.0f} s"}
    if process.returncode:  # a traceback from inside: nothing that a user could do anything about
        return row | {"reason": (process.stderr.strip().splitlines() or [f"exit code {process.returncode}"])[-1]}
    return dict(json.loads(process.stdout.splitlines()[-1]))


COLUMNS: dict[str, Callable[[dict[str, Any]], str]] = {
    "model": lambda row: row["model"],
    "input": lambda row: row["size"],
    "outcome": lambda row: describe(row),
    "FLOPs kept": lambda row: f"{row['kept']:.1%}" if "kept" in row else "-",
    "layers searched": lambda row: str(row.get("layers", "-")),
    "FLOPs in layers left whole": lambda row: f"{row['whole']:.1%}" if "whole" in row else "-",
    "seconds to trace": lambda row: f"{row['trace_seconds']:.1f}" if "trace_seconds" in row else "-",
    "seconds to compact": lambda row: f"{row['compact_seconds']:.2f}" if "compact_seconds" in row else "-",
}


def describe(row: dict[str, Any]) -> str:
    """Return what became of a network, with the reason where it was not pruned."""
    failed = [name for name, passed in row.get("checks", {}).items() if not passed]
    reason = row.get("reason") or ", ".join(failed)
    if row["outcome"] == "partly":
        return f"to {row['target']:.0%}: half is out of reach with a tenth of every layer kept"
    return f"{row['outcome']}: {reason}" if reason else row["outcome"]


def markdown(rows: Sequence[dict[str, Any]]) -> str:
    """Return the table as Markdown."""
    lines = ["| " + " | ".join(COLUMNS) + " |", "|---|---:|---|" + "---:|" * (len(COLUMNS) - 3)]
    lines += ["| " + " | ".join(cell(row) for cell in COLUMNS.values()) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> None:
    """Examine the networks, print a table and one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=NETWORKS, default=list(NETWORKS), metavar="LIBRARY/NAME")
    parser.add_argument("--seconds", type=float, default=600, help="limit for one network")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path, help="where to write the table as Markdown")
    parser.add_argument("--rows", type=Path, help="a file of rows: those in it are not examined again, new ones added")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    args = parser.parse_args(arguments)
    torch.set_num_threads(args.threads)
    if args.one:
        print(json.dumps(examine(args.one)))
        return
    lines = args.rows.read_text().splitlines() if args.rows and args.rows.exists() else []
    finished = {row["model"]: row for row in map(json.loads, lines)}
    rows = []
    for name in args.only:
        rows.append(finished.get(name) or apart(name, args.seconds))
        print(name, describe(rows[-1]), file=sys.stderr)
        if args.rows and name not in finished:
            with args.rows.open("a") as file:
                file.write(json.dumps(rows[-1]) + "\n")
    if args.output:
        args.output.write_text(markdown(rows))
    table = Table(*COLUMNS)
    for row in rows:
        table.add_row(*(cell(row) for cell in COLUMNS.values()))
    Console().print(table)
    counts = {
        outcome: sum(row["outcome"] == outcome for row in rows) for outcome in ("pruned", "partly", "refused", "broken")
    }
    installed = [name for name in LIBRARIES if importlib.util.find_spec(name)]
    versions = {name: importlib.import_module(name).__version__ for name in installed}
    print_json(counts | {"rows": rows, "versions": versions})


if __name__ == "__main__":
    main()
