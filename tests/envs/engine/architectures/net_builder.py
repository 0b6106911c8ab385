"""How the tables of networks are written: a forward function and the layers that it uses, a few lines each."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


class Net(nn.Module):
    """Layers by name, and a function ``forward(net, *inputs)`` over them."""

    def __init__(self, forward: Callable[..., Any], **layers: nn.Module | nn.Parameter | Tensor) -> None:
        super().__init__()
        self.function = forward
        for name, layer in layers.items():
            if isinstance(layer, Tensor) and not isinstance(layer, nn.Parameter):
                self.register_buffer(name, layer)
            else:
                setattr(self, name, layer)

    def forward(self, *args: Tensor, **kwargs: Tensor) -> Any:  # noqa: ANN401
        return self.function(self, *args, **kwargs)


@dataclass(frozen=True)
class Case:
    """A network, what it is called with, and what pruning must make of it.

    Attributes:
        build: makes the network.
        inputs: shapes of its inputs: a tuple of them, or one for each keyword.
        target: fraction of the FLOPs that uniform ratios must reach with at least a tenth of every layer kept;
            above 0.5 where parts of the network have to stay whole.
        whole: names that ``unprunable`` must hold, and a part of the reason.
        classes: inputs are whole numbers below this, not images.
    """

    build: Callable[[], nn.Module]
    inputs: tuple[tuple[int, ...], ...] | dict[str, tuple[int, ...]]
    target: float = 0.5
    whole: tuple[tuple[str, str], ...] = ()
    classes: int = 0

    def model(self) -> nn.Module:
        torch.manual_seed(0)
        return shake_norms(self.build())

    def example(self, batch: int = 1, seed: int = 1) -> Any:  # noqa: ANN401
        generator = torch.Generator().manual_seed(seed)

        def tensor(shape: tuple[int, ...]) -> Tensor:
            if self.classes:
                return torch.randint(self.classes, (batch, *shape), generator=generator)
            return torch.randn(batch, *shape, generator=generator)

        if isinstance(self.inputs, dict):
            return {name: tensor(shape) for name, shape in self.inputs.items()}
        tensors = tuple(tensor(shape) for shape in self.inputs)
        return tensors[0] if len(tensors) == 1 else tensors


def shake_norms(model: nn.Module) -> nn.Module:
    """Give batch norms statistics of their own: with fresh ones a biased channel and an absent one look alike."""
    for module in model.modules():
        if isinstance(module, NORMS) and module.running_mean is not None:
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2.0)
        if isinstance(module, NORMS) and module.affine:
            nn.init.normal_(module.bias)
            nn.init.uniform_(module.weight, 0.5, 1.5)
    return model.eval()
