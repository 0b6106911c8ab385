"""How images and weights lie in memory: channels next to each other, which convolutions are fastest at, or not."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from envs.engine.network.batches import take
from envs.engine.network.calls import Inputs, forward, map_tensors
from envs.engine.network.isolation import random_state_kept

Layout = Callable[[Tensor], Tensor]
"""Lays a tensor out in memory, and leaves one alone that lies so or has not four dimensions."""
BLOCK = 8
"""Channels that oneDNN takes together with AVX2."""


def channels_last(images: Tensor) -> Tensor:
    """Return images ``(n, channels, height, width)`` with the channels of a pixel next to each other in memory."""
    if images.ndim != 4:
        return images
    if images.shape[1] > 1:
        return images.contiguous(memory_format=torch.channels_last)
    # One channel lies alike in both ways. Layers take the way that strides tell, and pass it on to all behind them.
    _, _, height, width = images.shape
    return images.contiguous().as_strided(images.shape, (height * width, 1, width, 1))


def layout_of(model: nn.Module, inputs: Inputs) -> Layout:
    """Return ``channels_last``, or ``torch.Tensor.contiguous`` for a network that cannot read that.

    Such a one calls ``view`` on what a convolution returns, which may not join dimensions that lie apart.

    Args:
        model: in eval mode; is called with one sample.
        inputs: as it can be called with.
    """
    one = map_tensors(take(inputs, slice(1)), channels_last)
    with random_state_kept(), torch.no_grad():
        try:
            forward(model, one)
        except Exception:  # of the user's forward; what is no matter of layouts is raised again where it is called
            return Tensor.contiguous
    return channels_last


def lay_out(model: nn.Module, inputs: Inputs) -> Layout:
    """Lay the weights of a network out, in place, as it reads images fastest, and return how it reads them."""
    layout = layout_of(model, inputs)
    if layout is channels_last:
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return layout


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
