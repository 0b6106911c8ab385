import pytest
import torch
from torch import nn

from amc.zoo.models.registry import build_model
from envs.engine.costs.timed_layers import shape_of
from envs.engine.errors import NotKnown
from envs.engine.latency import LayerShape, TimedLayer
from envs.engine.network.calls import record_calls
from envs.engine.network.kinds.convolutions import PLAIN
from envs.engine.pruners.channel_pruner import ChannelPruner
from envs.engine.settings import EngineSettings
from envs.engine.torch_engine import TorchEngine
from envs.engine.types import Evaluation

SETTINGS = EngineSettings(reconstruct=False, adaptive_bn=0, round_to=2)


class ByWidth:
    """A second for every input channel."""

    def seconds(self, layers: list[TimedLayer]) -> float:
        return float(sum(layer.inputs for layer in layers))


def make_engine(name: str, settings: EngineSettings = SETTINGS) -> TorchEngine:
    images = torch.randn(2, 1, 16, 16)
    return TorchEngine(build_model(name, 10, 1, 0.25).eval(), images, images, lambda _: Evaluation(0, 0, 1), settings)


@pytest.mark.parametrize("name", ["mobilenet_v2", "resnet20"])
def test_layers_are_those_of_the_network_that_is_cut(name: str) -> None:
    engine = make_engine(name)
    assert isinstance(engine.pruner, ChannelPruner)
    kept = [layer.choices[len(layer.choices) // 2] for layer in engine.layers]
    small = engine.pruner.cut(kept)
    expected = []
    for module in small.modules():
        if isinstance(module, PLAIN):
            expected.append((module.in_channels, module.out_channels))
        elif isinstance(module, nn.Linear):
            expected.append((module.in_features, module.out_features))
    assert [(layer.inputs, layer.outputs) for layer in engine.pruner.timed_layers(kept)] == expected


def test_shapes_say_what_a_convolution_does() -> None:
    layer = nn.Conv2d(4, 8, (3, 5), stride=2, padding=(1, 2), dilation=1, groups=2)
    calls, _ = record_calls(nn.Sequential(layer), torch.randn(1, 4, 9, 11))
    assert shape_of(layer, calls["0"]) == LayerShape("conv", (3, 5), (2, 2), (1, 2), (1, 1), (9, 11), 2)
    assert shape_of(nn.ConvTranspose2d(4, 8, 3), calls["0"]) is None


def test_costs_hold_what_is_predicted() -> None:
    engine = make_engine("resnet20")
    assert engine.cost(engine.dense_strategy).latency is None
    engine.predict_latency(ByWidth())
    assert isinstance(engine.pruner, ChannelPruner)
    half = (0.5,) * len(engine.layers)
    widths = [layer.inputs for layer in engine.pruner.timed_layers(engine.kept(half))]
    assert engine.cost(half).latency == sum(widths)


def test_masks_have_no_latency() -> None:
    settings = EngineSettings(granularity="element", adaptive_bn=0)
    with pytest.raises(NotKnown, match="needs granularity=channel"):
        make_engine("resnet20", settings).predict_latency(ByWidth())
