"""What layers read and give at chosen places: the same in the dense network and in all that is left of it."""

import torch
from torch import Tensor, nn

from envs.engine.network.kinds import kind_of
from envs.engine.network.modules import channel_axis_of


def choose_places(module: nn.Module, outputs: Tensor, most: int, generator: torch.Generator) -> Tensor:
    """Choose places of a layer's output by chance: pixels of feature maps, tokens, of any of the samples.

    Args:
        module: a convolution or linear layer.
        outputs: its output.
        most: places; all where there are fewer.
        generator: on the CPU.

    Returns:
        Numbers of places, counted over all axes but that of the channels, ascending, int64, shape ``(places,)``.
    """
    count = outputs.numel() // outputs.shape[channel_axis_of(module, outputs)]
    chosen = torch.randperm(count, generator=generator)[:most]
    return chosen.sort().values.to(outputs.device)  # ascending: neighbours are read together


def outputs_at(module: nn.Module, outputs: Tensor, places: Tensor) -> Tensor:
    """Return a layer's outputs, or what has their shape, at some places, shape ``(places, channels)``."""
    axis = channel_axis_of(module, outputs)
    outside = outputs.flatten(0, axis - 1) if axis else outputs.unsqueeze(0)
    pixels = outside.flatten(2) if outside.ndim > 2 else outside.unsqueeze(2)
    return pixels[places // pixels.shape[2], :, places % pixels.shape[2]]


def inputs_at(module: nn.Module, inputs: Tensor, places: Tensor) -> Tensor:
    """Return what a layer reads for its outputs at some places.

    Returns:
        Shape ``(blocks, places, columns)``, columns in the order of ``weight.flatten(1)``.

    Raises:
        TypeError: no row of ``LAYER_KINDS`` says how.
    """
    kind = kind_of(module)
    if kind is None or kind.product is None or kind.product.read is None:
        raise TypeError(f"a {type(module).__name__} reads no windows of its input")
    return kind.product.read(module, inputs, places)
