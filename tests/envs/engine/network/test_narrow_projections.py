import pytest
import torch
from torch import Tensor, nn

from envs.engine.network.hooks import hooked
from envs.engine.network.narrow_projections import contiguous_where_narrow


class Inputs(list[Tensor]):
    """What a module reads, behind the hooks that were there before."""

    def __call__(self, _: nn.Module, args: tuple[Tensor, ...]) -> None:
        self.extend(args)


@pytest.mark.parametrize(
    ("layer", "guarded"),
    [
        (nn.Conv2d(4, 8, 1, 2), True),
        (nn.Conv2d(1, 8, 1, 2), True),
        (nn.Conv2d(8, 16, 1, 2, groups=2), True),
        (nn.Conv2d(8, 16, 1, 2), False),
        (nn.Conv2d(4, 8, 1), False),
        (nn.Conv2d(4, 8, 3, 2), False),
    ],
)
def test_narrow_projections_read_contiguous_images(layer: nn.Conv2d, guarded: bool) -> None:
    """The gradient against a product written out; where this is not guarded, AVX2 aborts the process."""
    torch.manual_seed(0)
    network: nn.Module = nn.Sequential(layer)
    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    images = torch.randn(128, layer.in_channels, 16, 16).to(memory_format=torch.channels_last)
    seen = Inputs()
    with hooked(contiguous_where_narrow(network)), hooked([layer.register_forward_pre_hook(seen)]):
        outputs = network(images)
        if guarded:
            towards = torch.randn_like(outputs)
            outputs.backward(towards)
    assert (seen[0].stride() == torch.empty(images.shape).stride()) is guarded
    assert torch.equal(seen[0], images)
    if guarded:
        read = images[:, :, ::2, ::2].double().unflatten(1, (layer.groups, -1))
        wanted = torch.einsum("ngchw,ngkhw->gkc", read, towards.double().unflatten(1, (layer.groups, -1))).flatten(0, 1)
        assert layer.weight.grad is not None
        torch.testing.assert_close(layer.weight.grad[:, :, 0, 0].double(), wanted, rtol=1e-3, atol=1e-3)
