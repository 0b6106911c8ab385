"""Weights that are zero and stay zero, whatever trains the network.

A masked layer is the layer it was: its ``weight`` holds exact zeros, its state dict has the dense network's names. The
mask is a buffer beside the weight that is not saved, and gradients are multiplied by it. A weight of zero whose
gradient is zero stays zero under every optimizer that treats weights one by one, with momentum, weight decay or
second moments: nothing has to run after its steps. The hook on the gradient is set in the next forward pass wherever
it is missing, so copies and moved networks hold their zeros, too.
"""

from typing import Any

import torch
from torch import Tensor, nn

from envs.engine.network.isolation import copy_structure
from envs.engine.network.modules import weight_of

MASK = "weight_mask"


class GradientMask:
    """A hook on a weight's gradient that lets through what the module's mask keeps, wherever the mask is by then."""

    def __init__(self, module: nn.Module) -> None:
        self._module = module

    def __call__(self, gradient: Tensor) -> Tensor:
        """Return the masked gradient."""
        return gradient * getattr(self._module, MASK)


def mask_weight(module: nn.Module, mask: Tensor) -> None:
    """Set the weights of one layer to zero, in place, and hold them there.

    Args:
        module: a layer with a ``weight``; where another layer shares it, that one needs the mask as well.
        mask: which weights stay, bool, in the weight's shape.
    """
    with torch.no_grad():
        # Multiplied, a negative weight would leave -0.
        module.weight.masked_fill_(~mask, 0.0)  # type: ignore[operator]
    module.register_buffer(MASK, mask, persistent=False)
    module.register_forward_pre_hook(_hold_zeros)


def _hold_zeros(module: nn.Module, _: tuple[Any, ...]) -> None:
    """Before a forward pass that may be trained on: see that the weight's gradient is masked."""
    weight: Any = module.weight
    if not weight.requires_grad or not torch.is_grad_enabled():
        return
    # Copied and unpickled parameters have lost their hooks; those of shared ones are found by every module.
    if not any(isinstance(hook, GradientMask) for hook in (weight._backward_hooks or {}).values()):
        weight.register_hook(GradientMask(module))


def unmasked(module: nn.Module) -> Tensor:
    """Return which weights of a layer no mask holds at zero, bool, in the weight's shape."""
    mask = getattr(module, MASK, None)
    return mask if isinstance(mask, Tensor) else torch.ones_like(weight_of(module), dtype=torch.bool)


def masks(model: nn.Module) -> dict[str, Tensor]:
    """Return the masks of a network by layer name."""
    found = {name: getattr(module, MASK, None) for name, module in model.named_modules()}
    return {name: mask for name, mask in found.items() if isinstance(mask, Tensor)}


def without_masks(model: nn.Module) -> nn.Module:
    """Return ``model`` as a plain network, its masks folded into its weights: what is exported.

    It shares its other tensors with ``model``, which is not touched.
    """
    if not masks(model):
        return model
    plain = copy_structure(model)
    for module in plain.modules():
        mask = module._buffers.pop(MASK, None)
        if mask is not None:
            module._non_persistent_buffers_set.discard(MASK)
            weight: Any = module.weight
            module.weight = nn.Parameter(weight.detach().masked_fill(~mask, 0.0), weight.requires_grad)
            for key in [key for key, hook in module._forward_pre_hooks.items() if hook is _hold_zeros]:
                del module._forward_pre_hooks[key]
    return plain
