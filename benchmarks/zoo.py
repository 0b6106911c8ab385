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

import copy
import importlib.util
import json
import sys
import time
from collections.abc import Sequence
from typing import Any

import torch
from networks_apart import Columns, read_arguments, rows_of, show
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
    # Not towards zero: heads that start with it answer with it, and would learn nothing.
    torch.stack([(each.float() - 1).square().mean() for each in floats]).sum().backward()
    optimizer.step()
    after = list(net.parameters())
    moved = any(not torch.equal(a, b) for a, b in zip(before, after, strict=True))
    return moved and all(bool(parameter.isfinite().all()) for parameter in after)


@torch.no_grad()
def outputs_of(model: nn.Module, inputs: Inputs) -> list[Tensor]:
    """Return what a network in eval mode makes of its inputs."""
    return flatten_outputs(forward(model, inputs))


def broken(name: str, reason: str) -> dict[str, Any]:
    """Return the row of a network whose process came to none."""
    return {"model": name, "size": describe_inputs(name), "outcome": "broken", "reason": reason}


COLUMNS: Columns = {
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


def main(arguments: Sequence[str] | None = None) -> None:
    """Examine the networks, print a table and one line of JSON."""
    asked = read_arguments(__doc__, list(NETWORKS), 600, arguments)
    torch.set_num_threads(asked.threads)
    if asked.one:
        print(json.dumps(examine(asked.one)))
        return
    rows = rows_of(__file__, asked, broken, lambda row: print(row["model"], describe(row), file=sys.stderr))
    show(rows, COLUMNS, "|---|---:|---|" + "---:|" * (len(COLUMNS) - 3), asked.output)
    counts = {
        outcome: sum(row["outcome"] == outcome for row in rows) for outcome in ("pruned", "partly", "refused", "broken")
    }
    installed = [name for name in LIBRARIES if importlib.util.find_spec(name)]
    versions = {name: importlib.import_module(name).__version__ for name in installed}
    print_json(counts | {"rows": rows, "versions": versions})


if __name__ == "__main__":
    main()
