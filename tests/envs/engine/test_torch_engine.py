import copy

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from envs.engine.analytic import AnalyticEngine
from envs.engine.errors import GraphError
from envs.engine.network.calls import flatten_outputs
from envs.engine.pruners.steps import channel_choices
from envs.engine.scoring.top1 import metric_scorer
from envs.engine.settings import EngineSettings
from envs.engine.torch_engine import TorchEngine
from envs.engine.types import Evaluation, KnowsReconstructionError, KnowsUnitScores, Strategy

PLAIN = EngineSettings(round_to=2, reconstruct=False, adaptive_bn=0)


def make_engine(model: nn.Module, images: Tensor, settings: EngineSettings = PLAIN) -> TorchEngine:
    return TorchEngine(model, images[:1], images, metric_scorer(lambda _: 0.5), settings)


def mixed_strategy(engine: TorchEngine) -> Strategy:
    ratios = (0.3, 0.8, 0.5, 1.0, 0.6)
    return tuple(ratios[step % len(ratios)] for step in range(len(engine.layers)))


@torch.no_grad()
def outputs(model: nn.Module, images: Tensor) -> list[Tensor]:
    return flatten_outputs(model(images))


def test_masked_and_compact_networks_agree(network: nn.Module, images: Tensor) -> None:
    engine = make_engine(network, images)
    strategy = mixed_strategy(engine)
    small = engine.prune(strategy)
    assert sum(p.numel() for p in small.parameters()) < 0.8 * sum(p.numel() for p in network.parameters())
    masked = outputs(engine.pruner.mask(engine.kept(strategy)), images)
    for found in (small, engine.pruner.for_inference(small)):
        for a, b in zip(outputs(found, images), masked, strict=True):
            torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)


def test_costs_equal_an_independent_counter(network: nn.Module, images: Tensor) -> None:
    engine = make_engine(network, images)
    strategy = mixed_strategy(engine)
    small, cost = engine.prune(strategy), engine.cost(strategy)
    with FlopCounterMode(display=False) as counter:
        small(images[:1])
    assert cost.flops == counter.get_total_flops() / 2
    assert cost.params == sum(parameter.numel() for parameter in small.parameters())


def test_the_network_given_is_not_touched(network: nn.Module, images: Tensor) -> None:
    before = copy.deepcopy(network.state_dict())
    engine = make_engine(network, images, EngineSettings(round_to=2, adaptive_bn=4))
    small = engine.prune(mixed_strategy(engine))
    dense = {tensor.data_ptr() for tensor in (*engine.model.parameters(), *engine.model.buffers())}
    assert dense.isdisjoint(tensor.data_ptr() for tensor in (*small.parameters(), *small.buffers()))
    with torch.no_grad():
        for parameter in small.parameters():
            parameter.add_(1.0)
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    assert engine.evaluate(mixed_strategy(engine)) == engine.evaluate(mixed_strategy(engine))


def test_outputs_and_ignored_layers_stay_whole(network: nn.Module, images: Tensor) -> None:
    first = make_engine(network, images)
    ignored = first.layers[0].name
    engine = make_engine(
        network, images, EngineSettings(round_to=2, ignore=(ignored,), reconstruct=False, adaptive_bn=0)
    )
    assert ignored not in {layer.name for layer in engine.layers}
    smallest = engine.prune(tuple(layer.choices[0] / layer.units for layer in engine.layers))
    assert smallest.get_submodule(ignored).weight.shape == network.get_submodule(ignored).weight.shape
    assert [a.shape for a in outputs(smallest, images)] == [a.shape for a in outputs(network, images)]


def test_keeping_everything_changes_nothing(network: nn.Module, images: Tensor) -> None:
    engine = make_engine(network, images, EngineSettings(round_to=2, adaptive_bn=0))
    whole = engine.prune((1.0,) * len(engine.layers))
    for a, b in zip(outputs(whole, images), outputs(network, images), strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize(
    ("units", "round_to", "expected"),
    [
        (10, 4, (4, 8, 10)),
        (8, 8, (8,)),
        (3, None, (1, 2, 3)),
        (16, None, (4, 8, 12, 16)),
        (40, None, (8, 16, 24, 32, 40)),
        (128, None, tuple(range(16, 129, 16))),
        (16, "auto", tuple(range(2, 17, 2))),
        (128, "auto", tuple(range(8, 129, 8))),
    ],
)
def test_choices_are_multiples_and_all(units: int, round_to: int | str | None, expected: tuple[int, ...]) -> None:
    assert channel_choices(units, round_to) == expected


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)

    def forward(self, images: Tensor) -> Tensor:
        return self.conv(self.conv(images))


class Random(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 1)

    def forward(self, images: Tensor) -> Tensor:
        return self.conv(images) + torch.rand(1)


class ChannelSoftmax(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.mixed, self.next, self.last = nn.Conv2d(3, 16, 1), nn.Conv2d(16, 16, 1), nn.Conv2d(16, 4, 1)

    def forward(self, images: Tensor) -> Tensor:
        return self.last(self.next(self.mixed(images).softmax(1)).relu())


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (nn.Sequential(nn.Conv2d(3, 8, 1)), "is an output of the network"),
        (Twice(), "nothing to prune"),
        (Random(), "two forward passes in eval mode differ"),
        (nn.Flatten(), "nothing to prune"),
    ],
)
def test_what_cannot_be_pruned_is_refused_with_the_reason(model: nn.Module, reason: str, images: Tensor) -> None:
    with pytest.raises(GraphError, match=reason) as error:
        make_engine(model, images)
    assert "\n" not in str(error.value)


def test_channels_that_mix_are_left_whole_and_listed(images: Tensor) -> None:
    torch.manual_seed(0)
    engine = make_engine(ChannelSoftmax(), images)
    assert [layer.name for layer in engine.layers] == ["last"]
    assert engine.unprunable["mixed"] == "is mixed with other channels on the way"


def test_units_of_highest_score_stay(network: nn.Module, images: Tensor) -> None:
    engine = make_engine(network, images)
    assert isinstance(engine, KnowsUnitScores)
    assert not isinstance(AnalyticEngine(), KnowsUnitScores)
    for step, (layer, rank) in enumerate(zip(engine.layers, engine.pruner.ranks, strict=True)):
        scores = engine.unit_scores(step)
        assert len(scores) == layer.units
        assert [scores[unit] for unit in rank.tolist()] == sorted(scores, reverse=True)


def test_an_engine_is_what_it_says(network: nn.Module, images: Tensor) -> None:
    """Against the protocols: an attribute is there exactly where calling it gives an answer."""
    for settings, errors in (
        (EngineSettings(), True),
        (EngineSettings(reconstruct=False), False),
        (EngineSettings(granularity="element"), True),
        (EngineSettings(granularity="n_m", reconstruct=False), False),
    ):
        engine = TorchEngine(network, images[:1], images, lambda _: Evaluation(0.5, 0.5, 1), settings)
        assert isinstance(engine, KnowsUnitScores)
        assert isinstance(engine, KnowsReconstructionError) is errors
        if not errors:
            with pytest.raises(ValueError, match="reconstruct=false leaves the reconstruction error unknown"):
                engine.reconstruction_error(0)


def test_the_score_of_a_channel_is_the_l1_norm_of_what_reads_it() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 1)).eval()
    engine = make_engine(model, torch.randn(4, 3, 6, 6))
    assert engine.unit_scores(0) == pytest.approx(model[2].weight.abs().sum((0, 2, 3)).tolist())
