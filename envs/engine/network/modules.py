"""The kinds of modules that channels can be removed from."""

from typing import TypeGuard

from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from envs.engine.network.channels import ChannelDim, Side

Transposed = nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d
Convolution = nn.Conv1d | nn.Conv2d | nn.Conv3d | Transposed
BatchNorm = nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d
Normalization = BatchNorm | nn.InstanceNorm1d | nn.InstanceNorm2d | nn.InstanceNorm3d
"""Norms that treat every channel by itself, so that the others do not notice when one goes."""
FORWARDS = ("forward", "_conv_forward")


def is_depthwise(module: nn.Module) -> TypeGuard[Convolution]:
    """Whether a module is a convolution that gives every channel filters of its own: one, or a fixed number."""
    return isinstance(module, Convolution) and module.groups == module.in_channels > 1


def multiplier_of(module: nn.Module) -> int:
    """Return how many output channels a depthwise convolution makes of one input channel, 1 for all else."""
    return module.out_channels // module.in_channels if is_depthwise(module) else 1


def is_plain(module: nn.Module) -> bool:
    """Whether a module computes what torch's class of its kind does, and no more.

    A subclass may do more: a batch norm with an activation, a convolution that pads its input to the size of its
    output or standardises its weights.
    """
    kind = next(kind for kind in type(module).__mro__ if kind.__module__.partition(".")[0] == "torch")
    same = all(getattr(type(module), name, None) is getattr(kind, name, None) for name in FORWARDS)
    return same and not any(name in vars(module) for name in FORWARDS)


def is_reconstructible(module: nn.Module) -> bool:
    """Whether least squares can fit a layer's weights: its outputs are linear in windows of its inputs."""
    return isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.Linear) and is_plain(module)


def weight_of(module: nn.Module) -> Tensor:
    """Return a module's weight, detached.

    Raises:
        TypeError: the module has no weight.
    """
    weight = module.weight
    if not isinstance(weight, Tensor):
        raise TypeError(f"{type(module).__name__} has no weight")
    return weight.detach()


def blocks_of(module: nn.Module) -> int:
    """Return how many blocks a grouped convolution has, 1 for all else."""
    return module.groups if isinstance(module, Convolution) else 1


def computes_weights(module: nn.Module) -> bool:
    """Whether a module's weight is computed from other parameters: weight norm, spectral norm, parametrizations."""
    return "weight" in vars(module) or is_parametrized(module)


def channel_dims_of(name: str, module: nn.Module) -> dict[ChannelDim, int]:
    """Return the sides of a module that channels can be removed from, with their widths.

    A depthwise convolution has one side, with its output channels; all that come from one input channel are tied.
    """
    if computes_weights(module):
        return {}
    if is_depthwise(module):
        return {(name, Side.BOTH): module.out_channels}
    if isinstance(module, Convolution):
        return {(name, Side.IN): module.in_channels, (name, Side.OUT): module.out_channels}
    if isinstance(module, nn.Linear):
        return {(name, Side.IN): module.in_features, (name, Side.OUT): module.out_features}
    if isinstance(module, nn.Embedding):
        return {(name, Side.OUT): module.embedding_dim}
    if isinstance(module, Normalization):
        return {(name, Side.BOTH): module.num_features}
    if isinstance(module, nn.GroupNorm) and module.num_groups > 1:
        return {(name, Side.BOTH): module.num_channels}
    if isinstance(module, nn.PReLU) and module.num_parameters > 1:
        return {(name, Side.BOTH): module.num_parameters}
    return {}
