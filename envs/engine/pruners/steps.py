"""Steps of the MDP, from the layers that they are named after."""

from torch import nn

from envs.engine.network.calls import Call
from envs.engine.network.kinds import kind_of
from envs.engine.types import Layer

COARSEST, FEWEST_CHOICES = 8, 8


def channel_choices(units: int, round_to: int | None) -> tuple[int, ...]:
    """Return the numbers of units that may stay: multiples of ``round_to``, and all."""
    multiple = round_to
    if multiple is None:
        multiple = COARSEST
        while multiple > 1 and units < multiple * FEWEST_CHOICES:
            multiple //= 2
    return (*range(multiple, units, multiple), units)


def describe(name: str, module: nn.Module, call: Call, choices: tuple[int, ...], flops: float) -> Layer:
    """Describe a step by a convolution or linear layer.

    Args:
        name: of the layer.
        module: the layer.
        call: how it is called.
        choices: numbers of units that may stay, the last of them all.
        flops: multiply-accumulates of the dense step for one sample.
    """
    kind = kind_of(module)
    if kind is None:
        raise TypeError(f"{name}: a {type(module).__name__} is no step")
    pixels = (1, 1, *call.inputs[kind.channel_axis(module, len(call.inputs)) + 1 :])
    return Layer(
        name=name,
        units=choices[-1],
        choices=choices,
        outputs=kind.outputs_of(module),
        inputs=kind.inputs_of(module),
        height=pixels[-2],
        width=pixels[-1],
        stride=int(getattr(module, "stride", (1,))[-1]),
        kernel=int(getattr(module, "kernel_size", (1,))[-1]),
        flops=flops,
    )
