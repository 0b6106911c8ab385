"""From a network and the channels to keep to a physically smaller network."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from envs.engine.network.channels import ChannelDim, ChannelGroup, Side
from envs.engine.network.hooks import hooked
from envs.engine.network.isolation import copy_structure
from envs.engine.network.kinds import Product, kind_of
from envs.engine.network.modules import channel_axis_of, weight_of
from envs.engine.surgery.full_width import dims_of_full_width, keep_widths
from envs.engine.surgery.head_counts import kept_counts, set_counts


def kept_channels(groups: Sequence[ChannelGroup], kept: Sequence[Tensor]) -> dict[ChannelDim, Tensor]:
    """Return the channels that stay at every dim that loses some.

    Args:
        groups: the network's channel groups.
        kept: for every group which of its units stay, bool, shape ``(units,)``.

    Returns:
        Ascending channel numbers by channel dimension.
    """
    masks: dict[ChannelDim, Tensor] = {}
    for group, units in zip(groups, kept, strict=True):
        for member in group.members:
            mask = member.channels(units)
            dim = (member.module, member.side)
            masks[dim] = masks[dim] & mask if dim in masks else mask
    return {dim: mask.nonzero().flatten() for dim, mask in masks.items()}


def compact(
    model: nn.Module,
    channels: Mapping[ChannelDim, Tensor],
    weights: Mapping[str, Tensor] | None = None,
    counts: Mapping[str, int] | None = None,
    full_width: set[ChannelDim] | None = None,
    share: bool = False,
) -> nn.Module:
    """Build the smaller network.

    Args:
        model: the dense network, which is not touched.
        channels: the channels that stay, by dimension; dimensions that are not named keep all.
        weights: weights to use in place of the dense ones for some modules, by name. They have their final
            number of input channels but still all output channels.
        counts: numbers that the network's code goes by, see ``envs.engine.surgery.head_counts``.
        full_width: dimensions that look as wide as before, see ``envs.engine.surgery.full_width``.
        share: whether parameters that stay as they are may be the dense network's own: for a look that changes none.

    Returns:
        A network of the same classes with smaller tensors, in eval mode. It owns all that are not shared.
    """
    small = copy_structure(model).eval()
    weights = weights or {}
    sides: dict[str, dict[Side, Tensor]] = {name: {} for name in weights}
    for (name, side), index in channels.items():
        sides.setdefault(name, {})[side] = index
    for name, module in small.named_modules():
        if name in sides:
            shrink(module, sides[name], weights.get(name))
    set_counts(small, counts or {})
    keep_widths(small, channels, model, full_width or set())
    _own_tensors(small, model.buffers() if share else (*model.parameters(), *model.buffers()))
    return small


def compact_groups(
    model: nn.Module,
    groups: Sequence[ChannelGroup],
    kept: Sequence[Tensor],
    weights: Mapping[str, Tensor] | None = None,
    share: bool = False,
) -> nn.Module:
    """Build the smaller network that keeps some units of every group.

    Args:
        model: the dense network, which is not touched.
        groups: its channel groups.
        kept: for every group which of its units stay, bool, shape ``(units,)``.
        weights: as for :func:`compact`.
        share: as for :func:`compact`.
    """
    counts, full_width = kept_counts(groups, kept), dims_of_full_width(groups)
    return compact(model, kept_channels(groups, kept), weights, counts, full_width, share)


def shrink(module: nn.Module, sides: Mapping[Side, Tensor], weight: Tensor | None = None) -> None:
    """Remove channels from one module in place.

    Args:
        module: of one of the kinds in ``LAYER_KINDS``.
        sides: ascending numbers of the channels that stay.
        weight: a weight whose input side is already small, instead of the module's own.

    Raises:
        TypeError: the module is of no such kind.
    """
    kind = kind_of(module)
    if kind is None:
        raise TypeError(f"a {type(module).__name__} cannot lose channels")
    for name, axes in kind.axes.items():
        tensor = getattr(module, name, None)
        if not isinstance(tensor, Tensor):
            continue
        given = weight if name == "weight" else None
        small = (tensor if given is None else given.clone()).detach()
        lost = {side: axis for side, axis in axes.items() if side in sides and (given is None or side is not Side.IN)}
        for side, axis in lost.items():
            slices = axis.slices(module, sides[side], small.shape[axis.axis])
            small = small.index_select(axis.axis, slices.to(small.device))
        if lost or given is not None:
            _replace(module, name, small)
    kind.set_widths(module, {side: len(index) for side, index in sides.items()})


def _replace(module: nn.Module, name: str, tensor: Tensor) -> None:
    old = getattr(module, name)
    tensor = tensor.detach().contiguous()
    new = nn.Parameter(tensor, requires_grad=old.requires_grad) if isinstance(old, nn.Parameter) else tensor
    setattr(module, name, new)


def _own_tensors(small: nn.Module, tensors: Iterable[Tensor]) -> None:
    """Clone those of some tensors that ``small`` still shares with the network it was copied from."""
    shared = {id(tensor) for tensor in tensors}
    clones: dict[int, Any] = {}
    for module in small.modules():
        for kind in (module._parameters, module._buffers):
            for name, tensor in kind.items():
                if tensor is not None and id(tensor) in shared:
                    clones.setdefault(id(tensor), _clone(tensor))
                    setattr(module, name, clones[id(tensor)])


def _clone(tensor: Tensor) -> Tensor:
    clone = tensor.detach().clone()
    return nn.Parameter(clone, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else clone


def fold_batch_norms(model: nn.Module, folds: Iterable[tuple[str, str]]) -> nn.Module:
    """Return a copy for inference with batch norms folded into the layers before them.

    Args:
        model: a network in eval mode, which is not touched.
        folds: names of (layer, batch norm) pairs.
    """
    folded = copy_structure(model)
    there = {name for name, _ in folded.named_modules()}
    for layer_name, norm_name in folds:
        if not {layer_name, norm_name} <= there:  # of a residual block that is gone
            continue
        layer: Any = folded.get_submodule(layer_name)
        norm: Any = folded.get_submodule(norm_name)
        _set_submodule(folded, layer_name, _product_of(layer).fold(layer, norm))
        _set_submodule(folded, norm_name, nn.Identity())
    return folded


def _product_of(layer: nn.Module) -> Product:
    kind = kind_of(layer)
    if kind is None or kind.product is None:
        raise TypeError(f"a {type(layer).__name__} takes no batch norm in")
    return kind.product


def _set_submodule(model: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, child = name.rpartition(".")
    setattr(model.get_submodule(parent), child, module)


def mask_inputs(model: nn.Module, channels: Mapping[ChannelDim, Tensor]) -> nn.Module:
    """Return a copy of ``model`` that reads zero instead of the channels that go: the slow twin of ``compact``.

    Masking what consumers read is exact. Masking what producers write is not: a batch norm behind them turns
    zeros into its bias. What is not masked is shared with ``model``.
    """
    masked = copy_structure(model).eval()
    for name, index in _read(channels):
        module = masked.get_submodule(name)
        _replace(module, "weight", _without_inputs(module, index))
    return masked


@contextmanager
def inputs_masked(model: nn.Module, channels: Mapping[ChannelDim, Tensor]) -> Iterator[None]:
    """Have ``model`` itself read zero instead of the channels that go, inside the block."""
    readers = ((model.get_submodule(name), index) for name, index in _read(channels))
    with hooked(module.register_forward_pre_hook(partial(_without_channels, index)) for module, index in readers):
        yield


def _without_channels(index: Tensor, module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return what a layer is called with, with zeros for the channels that go."""
    inputs = args[0]
    axis = channel_axis_of(module, inputs)
    gone = torch.ones(inputs.shape[axis], dtype=torch.bool)
    gone[index] = False
    return inputs.index_fill(axis, gone.nonzero().flatten().to(inputs.device), 0.0), *args[1:]


def _read(channels: Mapping[ChannelDim, Tensor]) -> list[tuple[str, Tensor]]:
    return [(name, index) for (name, side), index in channels.items() if side is Side.IN]


def _without_inputs(module: nn.Module, index: Tensor) -> Tensor:
    """Return a weight with zeros for the inputs that go."""
    kind = kind_of(module)
    if kind is None:
        raise TypeError(f"a {type(module).__name__} cannot lose inputs")
    axis = kind.axes["weight"][Side.IN]
    weight = weight_of(module)
    gone = torch.ones(weight.shape[axis.axis], dtype=torch.bool)
    gone[axis.slices(module, index, len(gone))] = False
    return weight.index_fill(axis.axis, gone.nonzero().flatten().to(weight.device), 0.0)
