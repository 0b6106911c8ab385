import pytest
from own_layers import NormAct, NormRelu, SamePadded, Standardised
from torch import Tensor, nn

from envs.engine.network.modules import is_plain, is_reconstructible


class Named(nn.Conv2d):
    """Differs from torch's class by how it is made."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, channels, 3)


def patched() -> nn.Module:
    layer = nn.Linear(4, 4)

    def forward(features: Tensor) -> Tensor:
        return nn.functional.linear(features, layer.weight).relu()

    layer.forward = forward  # type: ignore[method-assign, assignment]
    return layer


@pytest.mark.parametrize("module", [Named(3), nn.Linear(4, 4), nn.BatchNorm2d(4), nn.ConvTranspose1d(2, 2, 1)])
def test_torchs_own_forward_is_plain(module: nn.Module) -> None:
    assert is_plain(module)


@pytest.mark.parametrize(
    "module",
    [NormAct(4), NormRelu(4), SamePadded(3, 3, 3), Standardised(3, 3, 3), patched()],
    ids=lambda m: type(m).__name__,
)
def test_a_forward_of_ones_own_is_not(module: nn.Module) -> None:
    """Its batch norm is not folded, and its weights are not fitted as if its outputs were linear in its inputs."""
    assert not is_plain(module)
    assert not is_reconstructible(module)


def test_least_squares_fits_plain_layers_alone() -> None:
    assert is_reconstructible(Named(3))
    assert not is_reconstructible(nn.ConvTranspose2d(3, 3, 3))
