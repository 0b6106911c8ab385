"""The layers of a network as a table of times knows them."""

from torch import nn

from envs.engine.latency import LayerShape
from envs.engine.network.calls import Call
from envs.engine.network.kinds.convolutions import PLAIN, is_depthwise


def shape_of(module: nn.Module, call: Call) -> LayerShape | None:
    """Return what a layer's time depends on beside its channels; ``None`` for layers that no table holds.

    Those are transposed convolutions, attention and whatever is no product: their time counts with what does not
    depend on the layers.

    Args:
        module: the layer.
        call: how it is called.
    """
    if isinstance(module, nn.Linear):
        return LayerShape("linear", size=tuple(call.inputs[1:-1]))
    if not isinstance(module, PLAIN):
        return None
    depthwise = is_depthwise(module)
    axes = len(module.kernel_size)
    # As torch resolves names such as "same"; it lists the last axis first, both ends of each.
    padding = tuple(module._reversed_padding_repeated_twice[::-2])
    return LayerShape(
        kind="depthwise" if depthwise else "conv",
        kernel=tuple(module.kernel_size),
        stride=tuple(module.stride),
        padding=padding,
        dilation=tuple(module.dilation),
        size=tuple(call.inputs[-axes:]),
        groups=1 if depthwise else module.groups,
    )
