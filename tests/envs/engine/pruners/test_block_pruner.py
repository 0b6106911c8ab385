"""Residual blocks that go altogether, against the dense network that computes them in vain, and what torch counts."""

import copy
import math
from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from envs.constraint import CONSTRAINTS
from envs.engine.costs.peak_memory import peak_bytes
from envs.engine.errors import GraphError
from envs.engine.network.channels import first_units
from envs.engine.pruners.block_pruner import BlockPruner
from envs.engine.settings import EngineSettings
from envs.engine.surgery.compaction import kept_channels, mask_inputs
from envs.engine.torch_engine import TorchEngine
from envs.engine.types import Evaluation, Strategy
from envs.pruning_env import PruningEnv

IMAGES = torch.randn(12, 3, 8, 8, generator=torch.Generator().manual_seed(0))


class Residual(nn.Module):
    """A block of a ResNet; the first of a stage has a shortcut of its own, and has to stay."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(inputs, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6)
        self.conv2, self.norm2 = nn.Conv2d(6, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs)
        self.shortcut = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        branch = self.norm2(self.conv2(self.norm1(self.conv1(x)).relu()))
        out: Tensor = (branch + self.shortcut(x)).relu()
        return out


class Attending(nn.Module):
    """A block of a transformer, called by keyword and answering with a tuple, as Hugging Face's do."""

    def __init__(self, width: int = 12) -> None:
        super().__init__()
        self.norm, self.qkv, self.out = nn.LayerNorm(width), nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.gain = nn.Parameter(torch.rand(1))  # in no layer: costs have to count it all the same
        self.mlp = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 20), nn.GELU(), nn.Linear(20, width))
        self.kind = "full"

    def forward(self, *, hidden: Tensor) -> tuple[Tensor, None]:
        query, key, value = self.qkv(self.norm(hidden)).unflatten(-1, (3, 3, -1)).permute(2, 0, 3, 1, 4)
        mixed = nn.functional.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        hidden = hidden + self.gain * self.out(mixed)
        return hidden + self.mlp(hidden), None


class Transformer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Conv2d(3, 12, 2, stride=2)
        self.blocks = nn.ModuleList(Attending() for _ in range(3))
        self.head = nn.Linear(12, 4)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.embed(x).flatten(2).transpose(1, 2)
        for block in self.blocks:
            if block.kind == "full":
                hidden = block(hidden=hidden)[0]
        out: Tensor = self.head(hidden.mean(1))
        return out


def resnet() -> nn.Module:
    blocks = [Residual(8, 8), Residual(8, 8), Residual(8, 12), Residual(12, 12)]
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, 4)]
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), *blocks, *head)


NETWORKS: dict[str, tuple[Callable[[], nn.Module], list[str]]] = {
    "resnet": (resnet, ["2", "3", "5"]),
    "transformer": (Transformer, ["blocks.0", "blocks.1", "blocks.2"]),
}
each_network = pytest.mark.parametrize("name", NETWORKS)
each_granularity = pytest.mark.parametrize("granularity", ["block", "channel_block"])


def score(model: nn.Module) -> Evaluation:
    return Evaluation(-float(model(IMAGES).detach().var()), math.nan, len(IMAGES))


@cache
def engine_of(name: str, granularity: str, repair: str | None = None, ignore: tuple[str, ...] = ()) -> TorchEngine:
    torch.manual_seed(0)
    model = NETWORKS[name][0]()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.2)
    with torch.no_grad():
        model.train()(IMAGES)
    settings = EngineSettings(granularity, ignore=ignore, adaptive_bn=0, precision="fp32")
    repaired = replace(settings, reconstruct=repair is not None, repair=repair)
    return TorchEngine(model.eval(), IMAGES[:2], IMAGES, score, repaired)


def drawn(engine: TorchEngine, seed: int) -> Strategy:
    rng = np.random.default_rng(seed)
    return tuple(float(rng.choice(layer.choices)) / layer.units for layer in engine.layers)


def without(engine: TorchEngine, strategy: Strategy, scales: dict[str, float]) -> nn.Module:
    """The dense-sized network, its channels masked, whose blocks compute in vain: their input is handed on."""
    pruner = engine.pruner
    assert isinstance(pruner, BlockPruner)
    steps = list(zip(engine.layers, engine.kept(strategy), strict=True))
    units = [count for layer, count in steps if not layer.is_block]
    kept = kept_channels(pruner.graph.groups, list(map(first_units, pruner.ranks, units)))
    masked = mask_inputs(engine.model, kept)

    def hand_on(scale: float, _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:  # noqa: ANN401
        read = args[0] if args else kwargs["hidden"]
        return (read * scale, None) if isinstance(output, tuple) else read * scale

    for layer, count in steps:
        if layer.is_block and not count:
            hook = partial(hand_on, scales.get(layer.name, 1.0))
            masked.get_submodule(layer.name).register_forward_hook(hook, with_kwargs=True)
    return masked


@each_network
@each_granularity
def test_blocks_are_found_in_their_order(name: str, granularity: str) -> None:
    names = [layer.name for layer in engine_of(name, granularity).layers]
    blocks = NETWORKS[name][1]
    assert [each for each in names if each in blocks] == blocks
    inside = [number for number, each in enumerate(names) if each.startswith(f"{blocks[1]}.")]
    assert bool(inside) == (granularity == "channel_block")
    assert all(names.index(blocks[1]) < number < names.index(blocks[2]) for number in inside)


@each_network
@each_granularity
@torch.no_grad()
def test_a_smaller_network_computes_what_the_masked_one_does(name: str, granularity: str) -> None:
    engine = engine_of(name, granularity)
    strategies = [drawn(engine, seed) for seed in range(3)]
    assert any(0.0 in strategy for strategy in strategies)
    for strategy in strategies:
        expected = without(engine, strategy, {})(IMAGES)
        torch.testing.assert_close(engine.prune(strategy)(IMAGES), expected, rtol=1e-4, atol=1e-5)


@each_network
@each_granularity
def test_costs_are_what_is_there(name: str, granularity: str) -> None:
    engine = engine_of(name, granularity)
    for strategy in (engine.dense_strategy, *(drawn(engine, seed) for seed in range(3))):
        small, cost = engine.prune(strategy), engine.cost(strategy)
        with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
            small(IMAGES[:1])
        assert math.isclose(cost.flops, counter.get_total_flops() / 2, rel_tol=1e-9)
        assert cost.params == sum(parameter.numel() for parameter in small.parameters())


@each_network
@torch.no_grad()
def test_a_scale_is_that_of_least_squares(name: str) -> None:
    engine = engine_of(name, "block", "independent")
    watched, seen = copy.deepcopy(engine.model), dict[str, tuple[Any, ...]]()

    def watch(block: str, _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:  # noqa: ANN401
        read, returned = args[0] if args else kwargs["hidden"], output[0] if isinstance(output, tuple) else output
        seen[block] = read.double().reshape(-1, 1).numpy(), returned.double().flatten().numpy()

    for block in NETWORKS[name][1]:
        watched.get_submodule(block).register_forward_hook(partial(watch, block), with_kwargs=True)
    watched(IMAGES)
    scales = {}
    for step, block in enumerate(NETWORKS[name][1]):
        read, returned = seen[block]
        (scales[block],), residue, *_ = np.linalg.lstsq(read, returned, rcond=None)
        error = residue[0] / (returned**2).sum()
        assert np.allclose(engine.reconstruction_error(step), (error, 0.0))
    strategy = (0.0, 1.0, 0.0)
    expected = without(engine, strategy, scales)(IMAGES)
    torch.testing.assert_close(engine.prune(strategy)(IMAGES), expected, rtol=1e-4, atol=1e-5)


@each_network
@torch.no_grad()
def test_layers_behind_make_up_for_a_block_that_is_gone(name: str) -> None:
    engines = [engine_of(name, "block", repair) for repair in (None, "independent", "compensating")]
    strategy = tuple(float(layer.name != NETWORKS[name][1][1]) for layer in engines[0].layers)
    wanted = engines[0].model(IMAGES)
    bare, scaled, fitted = (float((each.prune(strategy)(IMAGES) - wanted).square().mean()) for each in engines)
    assert fitted < 0.5 * min(scaled, bare)


@pytest.mark.parametrize("constraint", CONSTRAINTS)
def test_a_search_sees_blocks_and_may_take_all_of_them(constraint: str) -> None:
    engine = engine_of("resnet", "channel_block")
    env = PruningEnv(engine, target=0.8, min_keep=0.3, constraint=constraint)
    blocks = [layer.is_block for layer in engine.layers]
    assert [floor == 0 for floor in env.budget.floors] == blocks
    kernels = env.observations(engine.dense_strategy)[:-1, env_feature("k")]
    assert [kernel == 0 for kernel in kernels] == blocks
    without_blocks = tuple(0.0 if block else 1.0 for block in blocks)
    for wanted in ((0.1,) * len(blocks), (0.4,) * len(blocks), (0.7,) * len(blocks), without_blocks):
        strategy = env.execute(wanted)
        reward, outcome = env.score(strategy)
        assert outcome["feasible"]
        assert math.isfinite(reward)
    if constraint == "bound":
        assert env.execute(without_blocks) == without_blocks


def env_feature(name: str) -> int:
    return ("t", "n", "c", "h", "w", "stride", "k").index(name)


def test_layers_inside_of_a_block_say_who_decides() -> None:
    by_name = {layer.name: layer for layer in engine_of("transformer", "block").network_layers}
    assert by_name["blocks.1.qkv"].block == 1
    assert by_name["blocks.1.qkv"].searched
    assert by_name["head"].block is None
    assert "no residual block" in by_name["head"].whole


def test_channels_alone_never_go_altogether() -> None:
    engine = engine_of("resnet", "channel_block")
    with pytest.raises(ValueError, match=r"keep ratios in \(0, 1\]"):
        engine.cost((0.0,) * len(engine.layers))


def test_a_network_without_blocks_is_refused() -> None:
    plain = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.Flatten())
    with pytest.raises(GraphError, match="Sequential has no residual block that could go: take granularity=channel"):
        TorchEngine(plain.eval(), IMAGES[:1], IMAGES, score, EngineSettings(granularity="block"))


def test_blocks_have_no_scores_of_units() -> None:
    with pytest.raises(ValueError, match=r"^granularity=block has no scores of whole units; take channel"):
        engine_of("resnet", "block").unit_scores(0)


def test_ignored_blocks_stay() -> None:
    engine = engine_of("transformer", "block", ignore=("blocks.0.mlp", "blocks.2"))
    assert [layer.name for layer in engine.layers] == ["blocks.1"]


def test_memory_at_the_peak_is_that_of_the_network_without_its_blocks() -> None:
    engine = engine_of("transformer", "block")
    engine.track_peak(IMAGES[:1])
    strategy = (0.0, 1.0, 0.0)
    expected = peak_bytes(engine.pruner.for_inference(engine.prune(strategy)), IMAGES[:1])
    assert engine.cost(strategy).memory_peak == expected
    assert expected < (engine.cost(engine.dense_strategy).memory_peak or 0)
