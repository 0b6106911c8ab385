"""Layers with one value a channel, which write the channels that they read: norms and learned activations."""

from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from envs.engine.network.channels import Side
from envs.engine.network.kinds.layer_kind import ChannelAxis, LayerKind, Widths, last_axis

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
INSTANCE_NORMS = (nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d)
A_VALUE_EACH = {Side.BOTH: ChannelAxis(0)}


def _is_batch_or_instance_norm(module: nn.Module) -> bool:
    return isinstance(module, BATCH_NORMS + INSTANCE_NORMS)


def _has_groups(module: nn.GroupNorm) -> bool:
    return module.num_groups > 1


def _group_width(module: nn.GroupNorm) -> int:
    return module.num_channels // module.num_groups


def _resize_group_norm(module: nn.GroupNorm, widths: Widths) -> None:
    """Keep groups as wide as they were: whole ones go, or the statistics of what stays would change."""
    width, channels = _group_width(module), widths[Side.BOTH]
    if channels % width:
        raise ValueError(f"{channels} channels in groups of {width}")
    module.num_channels, module.num_groups = channels, channels // width


def _never(_: nn.Module) -> bool:
    return False


def _resize_layer_norm(module: nn.LayerNorm | nn.RMSNorm, widths: Widths) -> None:
    module.normalized_shape = (widths[Side.BOTH], *module.normalized_shape[1:])


def _has_a_slope_each(module: nn.PReLU) -> bool:
    return module.num_parameters > 1


NORM = LayerKind(
    name="batch or instance norm",
    types=(_NormBase,),
    axes=dict.fromkeys(("weight", "bias", "running_mean", "running_var"), A_VALUE_EACH),
    inputs="num_features",
    outputs="num_features",
    prunable=_is_batch_or_instance_norm,
)
GROUP_NORM = LayerKind(
    name="group norm",
    types=(nn.GroupNorm,),
    axes=dict.fromkeys(("weight", "bias"), A_VALUE_EACH),
    inputs="num_channels",
    outputs="num_channels",
    prunable=_has_groups,
    run=_group_width,
    resize=_resize_group_norm,
)
# Their statistics are taken over all channels and would change with any that goes. Networks made smaller by hand have
# smaller ones all the same, and are loaded.
LAYER_NORM = LayerKind(
    name="layer or RMS norm",
    types=(nn.LayerNorm, nn.RMSNorm),
    axes=dict.fromkeys(("weight", "bias"), A_VALUE_EACH),
    inputs="normalized_shape",
    outputs="normalized_shape",
    channel_axis=last_axis,
    prunable=_never,
    resize=_resize_layer_norm,
)
PRELU = LayerKind(
    name="PReLU",
    types=(nn.PReLU,),
    axes={"weight": A_VALUE_EACH},
    inputs="num_parameters",
    outputs="num_parameters",
    prunable=_has_a_slope_each,
)
