"""Layers that compute their weight, made plain: same outputs, and no others are touched."""

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from blocks import conv
from composed_nets import computed_weights
from own_layers import SamePadded, Standardised, StandardisedPadded
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize, spectral_norm

import amc
from amc.weights.export import WEIGHTS_FILE, weights_bytes
from amc.weights.loading import LoadError
from amc.weights.metadata import Header
from envs.engine.network.isolation import copy_network
from envs.engine.network.plain_layers import make_plain


class Symmetric(nn.Module):
    def forward(self, weight: Tensor) -> Tensor:
        return weight + weight.flip(0)


def symmetric(module: nn.Module) -> nn.Module:
    parametrize.register_parametrization(module, "weight", Symmetric())
    return module


COMPUTING: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "weight norm": (lambda: parametrizations.weight_norm(conv(3, 4)), (2, 3, 6, 6)),
    "orthogonal": (lambda: parametrizations.orthogonal(nn.Linear(4, 4)), (2, 5, 4)),
    "spectral norm": (lambda: spectral_norm(nn.Conv1d(3, 4, 3, bias=False)), (2, 3, 6)),
    "transposed": (lambda: symmetric(nn.ConvTranspose2d(4, 3, 3, 2, 1, 1, 1, True, 2)), (2, 4, 5, 5)),
    "standardised": (lambda: Standardised(3, 4, 3, 2, 1, 2), (2, 3, 9, 9)),
}


@torch.no_grad()
@pytest.mark.parametrize("name", COMPUTING)
def test_a_plain_layer_computes_what_the_other_did(name: str) -> None:
    torch.manual_seed(0)
    build, shape = COMPUTING[name]
    model = nn.Sequential(build()).eval()
    inputs = torch.randn(shape)
    expected, before = model(inputs), model(inputs)
    copied = copy.deepcopy(model)
    assert make_plain(copied) == ["0"]
    assert type(copied[0]).__module__.startswith("torch.nn.modules")
    assert isinstance(copied[0].weight, nn.Parameter)
    torch.testing.assert_close(copied(inputs), expected, rtol=0, atol=0)
    torch.testing.assert_close(model(inputs), before, rtol=0, atol=0)


def test_layers_that_do_more_or_nothing_of_the_kind_stay_as_they_are() -> None:
    class Dynamic(nn.Linear):
        """Its weight depends on its input."""

        def forward(self, x: Tensor) -> Tensor:
            return nn.functional.linear(x, self.weight * x.mean(), self.bias)

    model = nn.ModuleList([conv(3, 4), SamePadded(3, 3, 3), StandardisedPadded(3, 4, 3), Dynamic(3, 3), nn.ReLU()])
    classes = [type(module) for module in model]
    assert make_plain(model.eval()) == []
    assert [type(module) for module in model] == classes


def test_what_a_hook_computed_is_no_hindrance(tmp_path: Path) -> None:
    """Behind a pass with gradients, the weight is a tensor that torch does not copy."""
    torch.manual_seed(0)
    images = torch.randn(2, 3, 8, 8)
    net = computed_weights(spectral_norm).train()
    net(images)
    net.eval()
    copied = copy_network(net)
    with torch.no_grad():
        torch.testing.assert_close(copied(images), net(images))
    (tmp_path / WEIGHTS_FILE).write_bytes(weights_bytes(copied, Header(())))
    with torch.no_grad():
        torch.testing.assert_close(amc.load(tmp_path, model=net)(images), net(images))
    with pytest.raises(LoadError, match="tensor '1"):
        amc.load(tmp_path, model=nn.Sequential(net[0], nn.Identity(), *net[2:]))
