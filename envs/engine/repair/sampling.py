"""What layers read and give at chosen places: the same in the dense network and in all that is left of it."""

from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from envs.engine.network.modules import blocks_of, weight_of
from envs.engine.repair.calibration import windows


def choose_places(module: nn.Module, outputs: Tensor, most: int, generator: torch.Generator) -> Tensor:
    """Choose places of a layer's output by chance: pixels of feature maps, tokens, of any of the samples.

    Args:
        module: a convolution or linear layer.
        outputs: its output.
        most: places; all where there are fewer.
        generator: on the CPU.

    Returns:
        Numbers of places, counted over all axes but that of the channels, int64, shape ``(places,)``.
    """
    count = prod(outputs.shape[:-1]) if isinstance(module, nn.Linear) else len(outputs) * prod(outputs.shape[2:])
    chosen = torch.randperm(count, generator=generator)[:most]
    return chosen.sort().values.to(outputs.device)  # neighbours are read together


def outputs_at(module: nn.Module, outputs: Tensor, places: Tensor) -> Tensor:
    """Return a layer's outputs, or what has their shape, at some places, shape ``(places, channels)``."""
    if isinstance(module, nn.Linear):
        return outputs.flatten(0, -2)[places]
    pixels = outputs.flatten(2)
    return pixels[places // pixels.shape[2], :, places % pixels.shape[2]]


def inputs_at(module: nn.Module, inputs: Tensor, places: Tensor) -> Tensor:
    """Return what a layer reads for its outputs at some places.

    Returns:
        Shape ``(blocks, places, columns)``, columns in the order of ``weight.flatten(1)``.
    """
    if isinstance(module, nn.Linear):
        return inputs.flatten(0, -2)[places].unsqueeze(0)
    views = windows(module, inputs)
    pixels = views.shape[2 : weight_of(module).ndim]
    where: tuple[Any, ...] = (
        places // prod(pixels),
        slice(None),
        *torch.unravel_index(places % prod(pixels), pixels),
    )
    return views[where].unflatten(1, (blocks_of(module), -1)).flatten(2).transpose(0, 1)
