"""A step of the MDP from the layer that it is named after."""

from torch import nn

from envs.engine.network.calls import Call
from envs.engine.types import Layer


def describe(name: str, module: nn.Module, call: Call, choices: tuple[int, ...], flops: float) -> Layer:
    """Describe a step by a convolution or linear layer.

    Args:
        name: of the layer.
        module: the layer.
        call: how it is called.
        choices: numbers of units that may stay, the last of them all.
        flops: multiply-accumulates of the dense step for one sample.
    """
    linear = isinstance(module, nn.Linear)
    pixels = (1, 1) if linear else (1, *call.inputs[2:])[-2:]
    return Layer(
        name=name,
        units=choices[-1],
        choices=choices,
        outputs=int(module.out_features if linear else module.out_channels),  # type: ignore[arg-type]
        inputs=int(module.in_features if linear else module.in_channels),  # type: ignore[arg-type]
        height=pixels[0],
        width=pixels[1],
        stride=1 if linear else int(module.stride[-1]),  # type: ignore[index]
        kernel=1 if linear else int(module.kernel_size[-1]),  # type: ignore[index]
        flops=flops,
    )
