"""Layers that are smaller than they look, for code around them that insists on the widths it was written for.

An attention may compute the width of its heads as ``channels // num_heads``, or add a table with a value a head: no
smaller tensor passes. Then the layer that writes the channels puts zeros in the place of those that went, and the layer
that reads them picks those that stayed. Both multiply as little as they would otherwise; what lies between them sees
what it is used to.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from envs.engine.network.channels import ChannelDim, ChannelGroup, Side
from envs.engine.network.kinds.convolutions import PLAIN
from envs.engine.network.modules import blocks_of, channel_axis_of, weight_of

LAYERS = (nn.Linear, *PLAIN)


@dataclass(frozen=True)
class Places:
    """Where a layer's channels stand among those that it seems to have.

    Attributes:
        inputs: of its input channels, ascending; empty where all are read.
        outputs: of its output channels; empty where it has no others.
        width: output channels that it seems to have.
    """

    inputs: tuple[int, ...] = ()
    outputs: tuple[int, ...] = ()
    width: int = 0


class FullWidth(nn.Module):
    """What is added to a layer's class; see :func:`keep_width`."""

    kept_inputs: Tensor | None
    kept_outputs: Tensor | None
    full_width: int

    def forward(self, inputs: Tensor) -> Tensor:
        """Read the inputs that stayed, and write zeros for the outputs that went."""
        outputs: Tensor = super().forward(self.picked(inputs))
        if self.kept_outputs is None:
            return outputs
        axis = channel_axis_of(self, outputs)
        shape = [self.full_width if number == axis else size for number, size in enumerate(outputs.shape)]
        return outputs.new_zeros(shape).index_copy(axis, self.kept_outputs, outputs)

    def picked(self, inputs: Tensor) -> Tensor:
        """Return the inputs that the weights are for."""
        if self.kept_inputs is None:
            return inputs
        return inputs.index_select(channel_axis_of(self, inputs), self.kept_inputs)


def can_keep_width(model: nn.Module, group: ChannelGroup) -> bool:
    """Whether nothing but plain layers reads and writes a group's channels, so that these can keep their width."""
    modules = [model.get_submodule(member.module) for member in group.members if member.side is not Side.BOTH]
    return len(modules) == len(group.members) and all(type(m) in LAYERS and blocks_of(m) == 1 for m in modules)


def dims_of_full_width(groups: Collection[ChannelGroup]) -> set[ChannelDim]:
    """Return the dimensions of those groups that keep their width."""
    return {(member.module, member.side) for group in groups if group.full_width for member in group.members}


def keep_width(module: nn.Module, places: Places) -> None:
    """Have a layer that is small already look as wide as it was, in place.

    Args:
        module: a plain layer.
        places: of its channels.

    Raises:
        ValueError: they are not those of the layer.
    """
    if type(module) not in LAYERS:
        raise ValueError(f"a {type(module).__name__} cannot keep its width")
    inputs, outputs = (weight_of(module).shape[axis] for axis in (1, 0))
    for found, count, most in ((places.inputs, inputs, None), (places.outputs, outputs, places.width)):
        if found and (len(found) != count or not _ascending(found) or (most is not None and found[-1] >= most)):
            raise ValueError(f"{len(found)} places for {count} channels")
    layer: Any = type(module)
    module.__class__ = _class(layer)
    device = weight_of(module).device
    for name, numbers in (("kept_inputs", places.inputs), ("kept_outputs", places.outputs)):
        index = torch.tensor(numbers, dtype=torch.long, device=device) if numbers else None
        module.register_buffer(name, index, persistent=False)
    module.full_width = places.width  # type: ignore[assignment]


def keep_widths(
    small: nn.Module, channels: Mapping[ChannelDim, Tensor], model: nn.Module, dims: set[ChannelDim]
) -> None:
    """Have layers of a smaller network look as wide as in the one it was cut from, in place.

    Args:
        small: the smaller network.
        channels: the channels that stay, by dimension.
        model: the network that it was cut from.
        dims: which dimensions keep their width.
    """
    for name in dict.fromkeys(name for name, _ in dims):
        widths = weight_of(model.get_submodule(name)).shape
        inputs, outputs = (
            _gaps(channels[(name, side)], width) if (name, side) in dims else ()
            for side, width in ((Side.IN, widths[1]), (Side.OUT, widths[0]))
        )
        if inputs or outputs:
            keep_width(small.get_submodule(name), Places(inputs, outputs, widths[0] if outputs else 0))


def _gaps(kept: Tensor, width: int) -> tuple[int, ...]:
    """Return the places of channels of which some went; none where all are there."""
    return tuple(kept.tolist()) if len(kept) < width else ()


def places_of(model: nn.Module) -> dict[str, Places]:
    """Return where the channels of a network's layers stand that look wider than they are, by module."""
    return {
        name: Places(_numbers(module.kept_inputs), _numbers(module.kept_outputs), module.full_width)
        for name, module in model.named_modules()
        if isinstance(module, FullWidth)
    }


def set_places(model: nn.Module, places: Mapping[str, Places]) -> None:
    """Have layers look wider than they are, in place; :func:`places_of` tells of them.

    Raises:
        ValueError: the network has no such layer, or it does not have as many channels.
    """
    modules = dict(model.named_modules())
    for name, each in places.items():
        if name not in modules:
            raise ValueError(f"no layer {name} that could keep its width")
        keep_width(modules[name], each)


def _numbers(index: Tensor | None) -> tuple[int, ...]:
    return () if index is None else tuple(index.tolist())


def _ascending(numbers: tuple[int, ...]) -> bool:
    return numbers[0] >= 0 and all(a < b for a, b in pairwise(numbers))


@cache
def _class(layer: Any) -> Any:  # noqa: ANN401  a class of modules
    return type(f"FullWidth{layer.__name__}", (FullWidth, layer), {"__module__": __name__})
