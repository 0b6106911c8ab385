"""What the engine has to know of a kind of layer: the columns of the table of layer kinds."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Size, Tensor, nn

from envs.engine.network.channels import Side

Widths = Mapping[Side, int]
"""Numbers of channels by side."""


def one(_: nn.Module) -> int:
    """Return 1: no blocks, no runs, a slice a channel."""
    return 1


def always(_: nn.Module) -> bool:
    """Return true: all modules of these classes."""
    return True


def last_axis(_: nn.Module, ndim: int) -> int:
    """Return the axis of the channels where they come last, as features of a token."""
    return ndim - 1


def second_axis(_: nn.Module, ndim: int) -> int:
    """Return the axis of the channels behind the batch, where there is one."""
    return min(1, ndim - 1)


class ChannelAxis(NamedTuple):
    """The axis of a parameter or buffer along which it holds the channels of one side.

    Attributes:
        axis: its number.
        shared: how many channels have one slice in common, such as the blocks of a grouped convolution.
        adjacent: whether these channels are next to each other, or lie a block apart.
        parts: how many slices a channel has, each a part of the axis from the next: query, key and value.
    """

    axis: int
    shared: Callable[[Any], int] = one
    adjacent: bool = False
    parts: Callable[[Any], int] = one

    def slices(self, module: nn.Module, channels: Tensor, size: int) -> Tensor:
        """Return which of ``size`` slices stay when ``channels``, ascending numbers, do; who share go together."""
        shared, parts = self.shared(module), self.parts(module)
        slices = channels[::shared] // shared if self.adjacent else channels[: len(channels) // shared]
        return torch.cat([slices + part * (size // parts) for part in range(parts)]) if parts > 1 else slices

    def width(self, module: nn.Module, size: int) -> int:
        """Return the number of channels that a tensor with ``size`` slices holds.

        Raises:
            ValueError: it is no whole number.
        """
        width, rest = divmod(size * self.shared(module), self.parts(module))
        if rest:
            raise ValueError(f"{size} is no multiple of {self.parts(module)}")
        return width


class Product(NamedTuple):
    """What is known of a layer that multiplies its inputs with its weights; masks and repair are for these.

    Attributes:
        macs: ``(module, shape of its input, shape of its output)``, both with the batch -> multiply-accumulates.
        fold: ``(module, batch norm behind it)``, both in eval mode -> one module that computes both.
        sample: ``(module, inputs, number of outputs, generator)`` -> what so many outputs, drawn at random, read, shape
            ``(blocks, samples, columns)`` with columns in the order of ``weight.flatten(1)``; ``None`` where outputs
            are no linear function of a window of the input, so that least squares cannot fit the weights.
        read: ``(module, inputs, places)`` -> the same for its outputs at given places: numbers that count all axes of
            the output but that of the channels; ``None`` where ``sample`` is.
        by_input: whether the weight is stored by input channel, ``(inputs, outputs of a block, *kernel)``, instead of
            by output channel, ``(outputs, inputs of a block, *kernel)``.
    """

    macs: Callable[[Any, tuple[int, ...], tuple[int, ...]], float]
    fold: Callable[[Any, Any], nn.Module]
    sample: Callable[[Any, Tensor, int, torch.Generator], Tensor] | None = None
    read: Callable[[Any, Tensor, Tensor], Tensor] | None = None
    by_input: bool = False


@dataclass(frozen=True)
class LayerKind:
    """A row of the table: where a layer has its channels, and what it costs.

    Attributes:
        name: in words.
        types: torch's classes.
        axes: for every parameter and buffer that gets smaller the axes of its channels. ``Side.IN`` and ``Side.OUT``
            where inputs and outputs are different channels, ``Side.BOTH`` alone where they are the same.
        outputs: the attribute that says how many output channels there are, a number or a shape that begins with it;
            or what computes it.
        inputs: the same for input channels; empty where it reads none, as an embedding.
        channel_axis: ``(module, number of dimensions)`` of an input or output -> the axis of its channels.
        applies: which modules of ``types`` the row is for.
        prunable: which of these can lose channels.
        run: how many output channels next to each other go together or not at all.
        blocks: groups of a convolution: no weight joins two of them, and all stay equally wide.
        resize: ``(module, new widths)``: sets attributes; ``None`` where ``inputs`` and ``outputs`` are all there is.
        product: what is known of its weights where it multiplies its inputs with them.
        reader: the module inside that reads the output channels, where they do not leave it: those of attention's
            heads. What leaves are the reader's outputs, and nothing that is read loses channels.
    """

    name: str
    types: tuple[type[nn.Module], ...]
    axes: Mapping[str, Mapping[Side, ChannelAxis]]
    outputs: str | Callable[[Any], int]
    inputs: str = ""
    channel_axis: Callable[[Any, int], int] = second_axis
    applies: Callable[[Any], bool] = always
    prunable: Callable[[Any], bool] = always
    run: Callable[[Any], int] = one
    blocks: Callable[[Any], int] = one
    resize: Callable[[Any, Widths], None] | None = None
    product: Product | None = None
    reader: str = ""

    def matches(self, module: nn.Module) -> bool:
        """Whether the row is for a module."""
        return isinstance(module, self.types) and self.applies(module)

    @property
    def sides(self) -> frozenset[Side]:
        """The sides that it has channels at."""
        return frozenset(side for axes in self.axes.values() for side in axes)

    def widths(self, module: nn.Module) -> dict[Side, int]:
        """Return the number of channels at every side, inputs first."""
        ordered = [side for side in (Side.IN, Side.OUT, Side.BOTH) if side in self.sides]
        return {side: size_of(module, self._attribute(side)) for side in ordered}

    def multiplier(self, module: nn.Module) -> int:
        """Return how many output channels come from one input channel, 1 where outputs come from all inputs."""
        if Side.BOTH not in self.sides or self.inputs == self.outputs:
            return 1
        return size_of(module, self.outputs) // size_of(module, self.inputs)

    def set_widths(self, module: nn.Module, widths: Widths) -> None:
        """Change the numbers of channels that a module remembers; its tensors are someone else's.

        Raises:
            ValueError: it cannot be that wide.
        """
        if self.resize is not None:
            self.resize(module, widths)
            return
        for side, width in widths.items():
            attribute = self._attribute(side)
            if isinstance(attribute, str):
                setattr(module, attribute, width)

    def widths_from(self, module: nn.Module, shapes: Mapping[str, Size]) -> dict[Side, int]:
        """Return the numbers of channels of a module whose parameters and buffers are to have other shapes.

        Raises:
            ValueError: they differ in more than numbers of channels, or contradict each other.
        """
        widths: dict[Side, int] = {}
        for name, shape in shapes.items():
            old = getattr(module, name).shape
            sides = {axis.axis: (side, axis) for side, axis in self.axes.get(name, {}).items()}
            if len(shape) != len(old):
                raise ValueError(f"{name} of shape {tuple(shape)} instead of {tuple(old)}")
            if any(size != old[axis] for axis, size in enumerate(shape) if axis not in sides):
                what = "kernel" if self.product is not None and len(old) > 2 else name
                raise ValueError(f"{what} of {tuple(shape)} instead of {tuple(old)}")
            for number, (side, axis) in sides.items():
                width = axis.width(module, shape[number])
                if widths.setdefault(side, width) != width:
                    raise ValueError(f"{name} of shape {tuple(shape)} for {widths[side]} channels")
        return widths

    def _attribute(self, side: Side) -> str | Callable[[Any], int]:
        return self.inputs if side is Side.IN else self.outputs


def size_of(module: nn.Module, attribute: str | Callable[[Any], int]) -> int:
    """Return what an attribute, or what stands for one, says of a number of channels."""
    size = getattr(module, attribute) if isinstance(attribute, str) else attribute(module)
    return size[0] if isinstance(size, tuple) else size
