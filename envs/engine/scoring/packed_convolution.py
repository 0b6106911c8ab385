"""One convolution in oneDNN's hands: weights laid out as it wants them, once, and the activation applied on the way."""

from collections.abc import Callable, Mapping, Sequence
from enum import Enum, auto
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

FUSABLE: Mapping[type[nn.Module], tuple[str, Sequence[float]]] = {
    nn.ReLU: ("relu", ()),
    nn.ReLU6: ("hardtanh", (0.0, 6.0)),
}
"""Activations by their name and numbers in oneDNN. They only compare: fused or not, they return the same values."""
NO_ACTIVATION: tuple[str, Sequence[float]] = ("none", ())
MARK = "_is_activated"
FEW_POSITIONS, MANY_CHANNELS = 49, 96
"""Height times width up to which a pointwise convolution is faster as a matrix product, and channels from which on.

With odd numbers of channels it always is, on a processor with AMX (``benchmarks/pointwise.py``).
"""
BATCH = 100
"""Images that weights are laid out for, however many come first: last bits must not depend on what came first."""
Kernel = Callable[[Tensor], Tensor]


class Way(Enum):
    """How a convolution is computed."""

    AS_IT_IS = auto()
    """With weights as torch has them: those laid out would turn images around that are stored channel by channel."""
    PACKED = auto()
    """With weights laid out for it."""
    PRODUCT = auto()
    """As a matrix product."""


class Kernels(dict[tuple[torch.dtype, Way], Kernel]):
    """What a convolution calls, by number format and way; made in the first pass that wants it.

    Copies of the network for threads share it: whoever comes first makes what all would make.
    """

    def __deepcopy__(self, known: dict[int, Any]) -> "Kernels":
        """Return itself."""
        return self


class PackedConv2d(nn.Conv2d):
    """A convolution whose weights no longer change, for passes without gradients.

    Attributes:
        activation: what it applies to its outputs, by its type, which it then marks as activated; none if ``None``.
        kernels: made so far.
    """

    activation: type[nn.Module] | None
    kernels: Kernels

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  torch's name
        """Return channels, activated; where gradients may be asked for, those of the convolution, not marked."""
        if input.ndim != 4 or not torch.is_inference_mode_enabled():
            return super().forward(input)
        is_reduced = torch.is_autocast_enabled("cpu")
        images = input.to(torch.get_autocast_dtype("cpu")) if is_reduced else input
        if not is_reduced and images.dtype != self.weight.dtype:
            return super().forward(input)  # which says so
        key = (images.dtype, self._way(images))
        if key not in self.kernels:
            self.kernels[key] = self._kernel(images, key[1])
        outputs = self.kernels[key](images)
        if self.activation is not None:
            setattr(outputs, MARK, True)
        return outputs

    def _way(self, images: Tensor) -> Way:
        _, _, height, width = images.shape
        # One channel lies in any order: its stride says in which torch would write the outputs.
        if images.stride(1) != 1 or not images.is_contiguous(memory_format=torch.channels_last):
            return Way.AS_IT_IS
        is_pointwise = self.kernel_size == self.stride == (1, 1) and self.padding == (0, 0) and self.groups == 1
        channels = (self.in_channels, self.out_channels)
        is_product_faster = (
            height * width <= FEW_POSITIONS or min(channels) >= MANY_CHANNELS or any(each % 2 for each in channels)
        )
        return Way.PRODUCT if is_pointwise and is_product_faster else Way.PACKED

    def _kernel(self, images: Tensor, way: Way) -> Kernel:
        weight = self.weight.detach().to(images.dtype)
        bias = None if self.bias is None else self.bias.detach().to(images.dtype)
        name, numbers = NO_ACTIVATION if self.activation is None else FUSABLE[self.activation]
        shape = (self.padding, self.stride, self.dilation, self.groups)
        if way is Way.PRODUCT:
            weight = torch.ops.mkldnn._reorder_linear_weight(weight.flatten(1), BATCH * images[0, 0].numel())
            return partial(_multiplied, weight, bias, self.out_channels, name, numbers)
        if way is Way.PACKED:
            weight = torch.ops.mkldnn._reorder_convolution_weight(weight, *shape, [BATCH, *images.shape[1:]])
        return partial(_convolved, weight, bias, shape, name, numbers)


def _convolved(
    weight: Tensor, bias: Tensor | None, shape: Sequence[Any], name: str, numbers: Sequence[float], images: Tensor
) -> Tensor:
    outputs: Tensor = torch.ops.mkldnn._convolution_pointwise(images, weight, bias, *shape, name, numbers, "")
    return outputs


def _multiplied(
    weight: Tensor, bias: Tensor | None, channels: int, name: str, numbers: Sequence[float], images: Tensor
) -> Tensor:
    count, _, height, width = images.shape
    pixels = images.permute(0, 2, 3, 1).reshape(-1, images.shape[1])
    outputs: Tensor = torch.ops.mkldnn._linear_pointwise(pixels, weight, bias, name, numbers, "")
    return outputs.view(count, height, width, channels).permute(0, 3, 1, 2)


class ActivatesOnce(nn.Module):
    """Lets pass what its convolution has activated."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  torch's name
        """Activate what is not. What is passed on loses its mark: it may be changed in place and activated again."""
        activated: Tensor = input if vars(input).pop(MARK, False) else super().forward(input)
        return activated
