"""Questions about single modules: their channels, their weights, whether they compute what their class does."""

from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from envs.engine.network.channels import ChannelDim
from envs.engine.network.kinds import kind_of

BatchNorm = nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d
FORWARDS = ("forward", "_conv_forward")


def is_plain(module: nn.Module) -> bool:
    """Whether a module computes what torch's class of its kind does, and no more.

    A subclass may do more: a batch norm with an activation, a convolution that pads its input to the size of its
    output or standardises its weights.
    """
    kind = next(kind for kind in type(module).__mro__ if kind.__module__.partition(".")[0] == "torch")
    same = all(getattr(type(module), name, None) is getattr(kind, name, None) for name in FORWARDS)
    return same and not any(name in vars(module) for name in FORWARDS)


def is_product(module: nn.Module) -> bool:
    """Whether a module multiplies its inputs with its weights: a convolution or a linear layer."""
    kind = kind_of(module)
    return kind is not None and kind.product is not None


def is_reconstructible(module: nn.Module) -> bool:
    """Whether least squares can fit a layer's weights: its outputs are linear in windows of its inputs."""
    kind = kind_of(module)
    product = kind.product if kind is not None else None
    return product is not None and product.sample is not None and is_plain(module)


def is_stored_by_input(module: nn.Module) -> bool:
    """Whether a layer stores its weight by input channel, as transposed convolutions do."""
    kind = kind_of(module)
    return kind is not None and kind.product is not None and kind.product.by_input


def multiplier_of(module: nn.Module) -> int:
    """Return how many output channels a depthwise convolution makes of one input channel, 1 for all else."""
    kind = kind_of(module)
    return kind.multiplier(module) if kind is not None else 1


def blocks_of(module: nn.Module) -> int:
    """Return how many blocks a grouped convolution has, 1 for all else."""
    kind = kind_of(module)
    return kind.blocks(module) if kind is not None else 1


def channel_axis_of(module: nn.Module, tensor: Tensor) -> int:
    """Return the axis of an input or output of a module along which its channels lie."""
    kind = kind_of(module)
    return kind.channel_axis(module, tensor.ndim) if kind is not None else min(1, tensor.ndim - 1)


def reader_of(name: str, module: nn.Module) -> str:
    """Return the module that reads the channels a module keeps to itself, by name; empty where they leave it."""
    kind = kind_of(module)
    return f"{name}.{kind.reader}" if kind is not None and kind.reader else ""


def weight_of(module: nn.Module) -> Tensor:
    """Return a module's weight, detached.

    Raises:
        TypeError: the module has no weight.
    """
    weight = module.weight
    if not isinstance(weight, Tensor):
        raise TypeError(f"{type(module).__name__} has no weight")
    return weight.detach()


def computes_weights(module: nn.Module) -> bool:
    """Whether a module's weight is computed from other parameters: weight norm, spectral norm, parametrizations."""
    return "weight" in vars(module) or is_parametrized(module)


def looks_wider(module: nn.Module) -> bool:
    """Whether a layer was made smaller but reads or writes tensors as wide as before."""
    return hasattr(module, "full_width")


def channel_dims_of(name: str, module: nn.Module) -> dict[ChannelDim, int]:
    """Return the sides of a module that channels can be removed from, with their widths.

    A depthwise convolution has one side, with its output channels; all that come from one input channel are tied.
    """
    kind = kind_of(module)
    if kind is None or computes_weights(module) or looks_wider(module) or not kind.prunable(module):
        return {}
    return {(name, side): width for side, width in kind.widths(module).items()}
