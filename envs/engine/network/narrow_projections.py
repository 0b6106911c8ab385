"""Narrow projections in training: what oneDNN gets wrong, and how to keep away from it."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

BLOCK = 8
"""Channels that oneDNN takes together with AVX2."""


def contiguous_where_narrow(model: nn.Module) -> Iterator[RemovableHandle]:
    """Have every strided 1x1 convolution of fewer than eight channels read contiguous images.

    With images in ``channels_last`` its weights' gradient is written behind the end of a buffer, on processors with
    AVX2: training crashes, or goes on with wrong numbers. Pruning makes such layers of shortcuts that were wide enough.

    Args:
        model: to be trained on a CPU; its narrow projections have their weights laid out anew.

    Returns:
        Handles of hooks, see ``envs.engine.network.hooks.hooked``.

    References:
        https://github.com/uxlfoundation/oneDNN/issues/6035
    """
    for module in model.modules():
        if _is_narrow(module) and module.weight.device.type == "cpu":
            # A copy: contiguous() takes the strides of 1x1 weights as they are.
            module.weight.data = module.weight.data.clone(memory_format=torch.contiguous_format)
            yield module.register_forward_pre_hook(_contiguous)


def _is_narrow(module: nn.Module) -> bool:
    return (
        isinstance(module, nn.Conv2d)
        and set(module.kernel_size) == {1}
        and max(module.stride) > 1
        and module.in_channels // module.groups < BLOCK
    )


def _contiguous(_: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(arg.clone(memory_format=torch.contiguous_format) if isinstance(arg, Tensor) else arg for arg in args)
