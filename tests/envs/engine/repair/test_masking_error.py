"""The reference runs every layer on its own inputs, once for every mask."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from envs.engine.repair.masking_error import lost_shares
from envs.engine.settings import EngineSettings
from envs.engine.torch_engine import TorchEngine
from envs.engine.types import Evaluation, KnowsReconstructionError

SETTINGS = EngineSettings(granularity="element", precision="fp32")
IMAGES = torch.randn(60, 3, 5, 5, generator=torch.Generator().manual_seed(0)) + 0.5
GRANULARITIES = ("element", "vector", "kernel", "n_m")


class Network(nn.Module):
    """Layers with and without a batch norm behind them, one grouped, one used twice, on maps of nine pixels at most."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.grouped = nn.Conv2d(8, 8, 3, padding=1, groups=4)
        self.twice = nn.Conv2d(8, 8, 1)
        self.classifier = nn.Linear(8, 5)

    def forward(self, images: Tensor) -> Tensor:
        """Map ``(n, 3, 5, 5)`` to ``(n, 5)``."""
        features = self.norm(self.first(images)).relu()
        return self.classifier(self.twice(self.twice(self.grouped(features).relu()).relu()).mean((2, 3)))


def make_engine(settings: EngineSettings) -> TorchEngine:
    torch.manual_seed(0)
    return TorchEngine(Network().eval(), IMAGES[:2], IMAGES, lambda _: Evaluation(0.0, 0.0, 1), settings)


def inputs_of(model: nn.Module, name: str, images: Tensor) -> Tensor:
    """What a layer reads, all its calls together."""
    seen: list[Tensor] = []
    layer: Any = model.get_submodule(name)
    handle = layer.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    with torch.no_grad():
        model(images)
    handle.remove()
    return torch.cat(seen)


def lost(layer: nn.Module, masked: nn.Module, inputs: Tensor, centered: bool) -> float:
    """Energy of the difference of a layer's outputs over that of its outputs without bias."""
    values: Any = layer.bias
    bias = 0 if values is None else values.view(-1, *([1] * (inputs.ndim - 2)))
    with torch.no_grad():
        whole = layer(inputs) - bias
        change = whole - (masked(inputs) - bias)
    over = [axis for axis in range(whole.ndim) if axis != 1]
    if centered:
        whole, change = (values - values.mean(over, keepdim=True) for values in (whole, change))
    return (change.square().sum() / whole.square().sum()).item()


@pytest.mark.parametrize("granularity", GRANULARITIES)
@pytest.mark.parametrize("adaptive_bn", [0, None])
def test_error_is_the_energy_that_masks_take_from_the_outputs(granularity: str, adaptive_bn: int | None) -> None:
    engine = make_engine(replace(SETTINGS, granularity=granularity, adaptive_bn=adaptive_bn))
    assert isinstance(engine, KnowsReconstructionError)
    as_it_is = make_engine(replace(engine.settings, reconstruct=False)).pruner
    for step, layer in enumerate(engine.layers):
        errors = engine.reconstruction_error(step)
        assert len(errors) == len(layer.choices)
        assert errors[-1] == 0
        inputs = inputs_of(engine.model, layer.name, IMAGES)
        reference = []
        for choice in layer.choices:
            kept = [other.units for other in engine.layers]
            kept[step] = choice
            small = as_it_is.prune(kept)
            whole, masked = engine.model.get_submodule(layer.name), small.get_submodule(layer.name)
            reference.append(lost(whole, masked, inputs, layer.name == "first" and adaptive_bn is None))
        largest = torch.tensor(reference[::-1]).cummax(0).values.flip(0)
        torch.testing.assert_close(torch.tensor(errors), largest.clamp_max(1), rtol=1e-3, atol=1e-5)


def test_white_inputs_lose_the_share_of_squared_weights() -> None:
    weight = torch.tensor([[3.0, 4.0], [0.0, 5.0]])
    masks = [weight > 3.5, weight > 4.5]
    torch.testing.assert_close(lost_shares(weight, masks, None), torch.tensor([9 / 50, 25 / 50], dtype=torch.float64))
    identity = torch.eye(2).unsqueeze(0)
    assert torch.equal(lost_shares(weight, masks, identity), lost_shares(weight, masks, None))


def test_weights_that_make_up_for_each_other_never_lose_less_than_one_of_them() -> None:
    weight, same = torch.tensor([[1.0, -1.0, 1.0]]), torch.ones(1, 3, 3)
    masks = [torch.tensor([[True, False, True]]), torch.tensor([[False, False, True]])]
    # Without the second weight the output is twice as large: all is lost, and stays lost without the first two.
    assert lost_shares(weight, masks, same).tolist() == [1, 1]


def test_a_layer_of_zeros_loses_nothing() -> None:
    shares = lost_shares(torch.zeros(2, 3), [torch.zeros(2, 3, dtype=torch.bool)], torch.eye(3).unsqueeze(0))
    assert shares.tolist() == [0]


def test_without_repair_it_is_not_known() -> None:
    assert not isinstance(make_engine(replace(SETTINGS, reconstruct=False)), KnowsReconstructionError)
