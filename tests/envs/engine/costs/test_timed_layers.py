from dataclasses import replace

import pytest
import torch
from torch import nn

from amc.zoo.models.registry import build_model
from envs.engine.costs.timed_layers import shape_of
from envs.engine.errors import NotKnown
from envs.engine.latency import LayerShape, TimedLayer
from envs.engine.network.calls import record_calls
from envs.engine.network.kinds.convolutions import PLAIN
from envs.engine.pruners.pruner import CompactPruner
from envs.engine.settings import EngineSettings
from envs.engine.torch_engine import TorchEngine
from envs.engine.types import Evaluation

SETTINGS = EngineSettings(reconstruct=False, adaptive_bn=0, round_to=2)


class ByWidth:
    """A second for every input channel."""

    def seconds(self, layers: list[TimedLayer]) -> float:
        return float(sum(layer.inputs for layer in layers))


class InFours:
    """A second for every four channels that are begun."""

    def seconds(self, layers: list[TimedLayer]) -> float:
        return float(sum(-(-layer.inputs // 4) for layer in layers))


def make_engine(name: str, settings: EngineSettings = SETTINGS) -> TorchEngine:
    images = torch.randn(2, 1, 16, 16)
    return TorchEngine(build_model(name, 10, 1, 0.25).eval(), images, images, lambda _: Evaluation(0, 0, 1), settings)


def layers_by_torch(network: nn.Module) -> list[tuple[int, int]]:
    """Input and output channels of what a table knows, as torch's modules hold them."""
    found = []
    for module in network.modules():
        if isinstance(module, PLAIN):
            found.append((module.in_channels, module.out_channels))
        elif isinstance(module, nn.Linear):
            found.append((module.in_features, module.out_features))
    return found


@pytest.mark.parametrize(
    ("name", "granularity"),
    [("mobilenet_v2", "channel"), ("resnet20", "channel"), ("resnet20", "channel_block"), ("mobilenet_v2", "block")],
)
def test_layers_are_those_of_the_network_that_is_cut(name: str, granularity: str) -> None:
    engine = make_engine(name, replace(SETTINGS, granularity=granularity, round_to=None))
    assert isinstance(engine.pruner, CompactPruner)
    middle = [layer.choices[len(layer.choices) // 2] for layer in engine.layers]
    # Half of the channels go, and every other block.
    kept = [
        n % 2 if layer.is_block else count for n, (layer, count) in enumerate(zip(engine.layers, middle, strict=True))
    ]
    found = [(layer.inputs, layer.outputs) for layer in engine.pruner.timed_layers(kept)]
    assert found == layers_by_torch(engine.pruner.cut(kept))


def test_choices_without_use_go_from_blocks_and_channels_alike() -> None:
    engine = make_engine("resnet20", replace(SETTINGS, granularity="channel_block", round_to=1, reconstruct=True))
    engine.predict_latency(InFours(), round_freely=True)
    for step, layer in enumerate(engine.layers):
        assert layer.choices == ((0, 1) if layer.is_block else tuple(n for n in layer.choices if n % 4 == 0))
        assert len(engine.reconstruction_error(step)) == len(layer.choices)


def test_shapes_say_what_a_convolution_does() -> None:
    layer = nn.Conv2d(4, 8, (3, 5), stride=2, padding=(1, 2), dilation=1, groups=2)
    calls, _ = record_calls(nn.Sequential(layer), torch.randn(1, 4, 9, 11))
    assert shape_of(layer, calls["0"]) == LayerShape("conv", (3, 5), (2, 2), (1, 2), (1, 1), (9, 11), 2)
    assert shape_of(nn.ConvTranspose2d(4, 8, 3), calls["0"]) is None


def test_costs_hold_what_is_predicted() -> None:
    engine = make_engine("resnet20")
    assert engine.cost(engine.dense_strategy).latency is None
    engine.predict_latency(ByWidth())
    assert isinstance(engine.pruner, CompactPruner)
    half = (0.5,) * len(engine.layers)
    widths = [layer.inputs for layer in engine.pruner.timed_layers(engine.kept(half))]
    assert engine.cost(half).latency == sum(widths)


def test_masks_have_no_latency() -> None:
    settings = EngineSettings(granularity="element", adaptive_bn=0)
    with pytest.raises(NotKnown, match="needs granularity=block, channel, channel_block, not element"):
        make_engine("resnet20", settings).predict_latency(ByWidth())
