"""Steps of the MDP, from the layers that they are named after."""

from torch import nn

from envs.engine.network.calls import Call
from envs.engine.network.kinds import kind_of
from envs.engine.settings import FREELY
from envs.engine.types import Layer

COARSEST, FEWEST_CHOICES = 16, 4
"""Processors compute 16 channels at a time: numbers between its multiples take as long as the next one, or longer."""
FINER = 8
"""What a table of latencies chooses from, which knows better; with as many choices at the least."""


def channel_choices(units: int, round_to: int | str | None) -> tuple[int, ...]:
    """Return the numbers of units that may stay: multiples of ``round_to``, and all."""
    if isinstance(round_to, int):
        multiple = round_to
    else:
        multiple, fewest = (FINER, FINER) if round_to == FREELY else (COARSEST, FEWEST_CHOICES)
        while multiple > 1 and units < multiple * fewest:
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
