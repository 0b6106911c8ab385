import pytest
import torch
from torch import Tensor, nn

from amc.training.mixed_precision import mixed_precision
from amc.zoo.models.registry import build_model
from envs.engine.network.hooks import hooked

CPU = torch.device("cpu")


def loss_of(model: nn.Module, images: Tensor, enabled: bool) -> tuple[Tensor, dict[str, torch.dtype]]:
    """A loss, and what each kind of convolution computed in."""
    seen: dict[str, torch.dtype] = {}

    def look(module: nn.Conv2d, _: object, output: Tensor) -> None:
        seen["whole" if module.groups == 1 else "depthwise" if module.weight.shape[1] == 1 else "grouped"] = (
            output.dtype
        )

    convolutions = [each for each in model.modules() if isinstance(each, nn.Conv2d)]
    with hooked(each.register_forward_hook(look) for each in convolutions), mixed_precision(CPU, enabled):
        loss = model(images).logsumexp(1).mean()
    return loss, seen


@pytest.mark.parametrize("enabled", [True, False])
def test_depthwise_convolutions_are_computed_in_float32_and_others_in_bfloat16(enabled: bool) -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 3, groups=8), nn.Conv2d(8, 8, 1, groups=2), nn.Flatten())
    loss, seen = loss_of(model, torch.randn(2, 3, 8, 8), enabled)
    reduced = torch.bfloat16 if enabled else torch.float32
    assert seen == {"whole": reduced, "depthwise": torch.float32, "grouped": reduced}
    loss.backward()
    assert all(parameter.grad.dtype == torch.float32 for parameter in model.parameters())


@pytest.mark.parametrize("name", ["mobilenet", "resnet20"])
def test_gradients_are_no_further_from_those_of_float32_than_without(name: str) -> None:
    torch.manual_seed(0)
    model, images = build_model(name, 10, 3, 0.25).train(), torch.randn(16, 3, 32, 32)

    def gradient(loss: Tensor) -> Tensor:
        model.zero_grad()
        loss.backward()
        return torch.cat([parameter.grad.flatten() for parameter in model.parameters()])

    exact = gradient(loss_of(model, images, enabled=False)[0])
    with torch.autocast("cpu", torch.bfloat16):
        plain = gradient(model(images).logsumexp(1).mean())
    mixed = gradient(loss_of(model, images, enabled=True)[0])
    assert 0 < (mixed - exact).norm() <= 1.05 * (plain - exact).norm()
    if name == "resnet20":  # has no depthwise convolutions
        assert torch.equal(mixed, plain)
