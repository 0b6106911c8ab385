"""Convolutions: plain or grouped, depthwise, and both of them transposed."""

import copy
from math import prod
from typing import Any, cast

from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_conv_bn_weights

from envs.engine.network.channels import Side
from envs.engine.network.kinds.input_samples import read_windows, sample_windows
from envs.engine.network.kinds.layer_kind import ChannelAxis, LayerKind, Product, Widths

PLAIN = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


def is_depthwise(module: Any) -> bool:  # noqa: ANN401  a convolution of any class
    """Whether a convolution gives every channel filters of its own: one, or a fixed number."""
    return bool(module.groups == module.in_channels > 1)


def _groups(module: Any) -> int:  # noqa: ANN401
    return int(module.groups)


def _filters_per_channel(module: Any) -> int:  # noqa: ANN401
    return int(module.out_channels // module.in_channels)


def _before_pixels(module: Any, ndim: int) -> int:  # noqa: ANN401
    return ndim - len(module.kernel_size) - 1  # the batch may be missing


def _at_outputs(module: Any, _: tuple[int, ...], outputs: tuple[int, ...]) -> float:  # noqa: ANN401
    """Multiply-accumulates of a kernel that is applied at every pixel of the output."""
    return prod(outputs) // module.out_channels * _per_pixel(module)


def _at_inputs(module: Any, inputs: tuple[int, ...], _: tuple[int, ...]) -> float:  # noqa: ANN401
    """Multiply-accumulates of a kernel that is applied at every pixel of the input."""
    return prod(inputs) // module.in_channels * _per_pixel(module)


def _per_pixel(module: Any) -> int:  # noqa: ANN401
    return int(module.in_channels * module.out_channels // module.groups * prod(module.kernel_size))


def _fold_transposed(module: Any, norm: Any) -> nn.Module:  # noqa: ANN401
    """Fold as torch does for other convolutions: its function for transposed ones fails with more than one group."""
    folded = copy.deepcopy(module)
    folded.weight, folded.bias = fuse_conv_bn_weights(
        _swap_channels(module.weight, module.groups),
        module.bias,
        norm.running_mean,
        norm.running_var,
        norm.eps,
        norm.weight,
        norm.bias,
    )
    folded.weight = nn.Parameter(_swap_channels(folded.weight, module.groups), module.weight.requires_grad)
    return cast(nn.Module, folded)


def _swap_channels(weight: Tensor, groups: int) -> Tensor:
    """Exchange the first two axes of every group."""
    swapped: Tensor = weight.unflatten(0, (groups, -1)).transpose(1, 2).flatten(0, 1)
    return swapped


def _resize(module: Any, widths: Widths) -> None:  # noqa: ANN401
    inputs, outputs = widths.get(Side.IN, module.in_channels), widths.get(Side.OUT, module.out_channels)
    if inputs % module.groups or outputs % module.groups:
        raise ValueError(f"{inputs} to {outputs} channels in {module.groups} groups")
    module.in_channels, module.out_channels = inputs, outputs


def _resize_depthwise(module: Any, widths: Widths) -> None:  # noqa: ANN401
    filters = _filters_per_channel(module)
    inputs, rest = divmod(widths[Side.BOTH], filters)
    if rest:
        raise ValueError(f"{widths[Side.BOTH]} outputs with {filters} for every input channel")
    module.in_channels = module.groups = inputs
    module.out_channels = widths[Side.BOTH]


def _is_not_depthwise(module: nn.Module) -> bool:
    return not is_depthwise(module)


CONVOLUTION = LayerKind(
    name="convolution",
    types=PLAIN,
    applies=_is_not_depthwise,
    axes={
        "weight": {Side.OUT: ChannelAxis(0), Side.IN: ChannelAxis(1, shared=_groups)},
        "bias": {Side.OUT: ChannelAxis(0)},
    },
    inputs="in_channels",
    outputs="out_channels",
    channel_axis=_before_pixels,
    blocks=_groups,
    resize=_resize,
    product=Product(_at_outputs, fuse_conv_bn_eval, sample_windows, read_windows),
)
TRANSPOSED_CONVOLUTION = LayerKind(
    name="transposed convolution",
    types=TRANSPOSED,
    applies=_is_not_depthwise,
    axes={
        "weight": {Side.IN: ChannelAxis(0), Side.OUT: ChannelAxis(1, shared=_groups)},
        "bias": {Side.OUT: ChannelAxis(0)},
    },
    inputs="in_channels",
    outputs="out_channels",
    channel_axis=_before_pixels,
    blocks=_groups,
    resize=_resize,
    product=Product(_at_inputs, _fold_transposed, by_input=True),
)
DEPTHWISE_CONVOLUTION = LayerKind(
    name="depthwise convolution",
    types=PLAIN,
    applies=is_depthwise,
    axes={"weight": {Side.BOTH: ChannelAxis(0)}, "bias": {Side.BOTH: ChannelAxis(0)}},
    inputs="in_channels",
    outputs="out_channels",
    channel_axis=_before_pixels,
    run=_filters_per_channel,
    blocks=_groups,
    resize=_resize_depthwise,
    product=Product(_at_outputs, fuse_conv_bn_eval, sample_windows, read_windows),
)
TRANSPOSED_DEPTHWISE_CONVOLUTION = LayerKind(
    name="transposed depthwise convolution",
    types=TRANSPOSED,
    applies=is_depthwise,
    axes={
        "weight": {Side.BOTH: ChannelAxis(0, shared=_filters_per_channel, adjacent=True)},
        "bias": {Side.BOTH: ChannelAxis(0)},
    },
    inputs="in_channels",
    outputs="out_channels",
    channel_axis=_before_pixels,
    run=_filters_per_channel,
    blocks=_groups,
    resize=_resize_depthwise,
    product=Product(_at_inputs, _fold_transposed, by_input=True),
)
