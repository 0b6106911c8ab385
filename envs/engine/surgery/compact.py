"""From a network and the channels to keep to a physically smaller network."""

import copy
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from envs.engine.network.channels import ChannelDim, ChannelGroup, Side
from envs.engine.network.modules import Transposed, blocks_of, is_depthwise, multiplier_of, weight_of
from envs.engine.surgery.head_counts import set_counts

PER_CHANNEL_TENSORS = ("weight", "bias", "running_mean", "running_var")


def copy_structure(model: nn.Module) -> nn.Module:
    """Copy a network's modules but share its tensors: cheap, and safe as long as tensors are replaced, not changed."""
    shared: dict[int, Any] = {id(parameter): parameter for parameter in model.parameters()}
    shared.update({id(buffer): buffer for buffer in model.buffers()})
    return copy.deepcopy(model, shared)


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
) -> nn.Module:
    """Build the smaller network.

    Args:
        model: the dense network, which is not touched.
        channels: the channels that stay, by dimension; dimensions that are not named stay whole.
        weights: weights to use in place of the dense ones for some modules, by name. They have their final
            number of input channels but still all output channels.
        counts: numbers that the network's code goes by, see ``envs.engine.surgery.head_counts``.

    Returns:
        A network of the same classes with smaller tensors, which it owns, in eval mode.
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
    _own_tensors(small, model)
    return small


def shrink(module: nn.Module, sides: Mapping[Side, Tensor], weight: Tensor | None = None) -> None:
    """Remove channels from one module in place.

    Args:
        module: a convolution, linear layer or module with one value a channel.
        sides: ascending numbers of the channels that stay.
        weight: a weight whose input side is already small, instead of the module's own.
    """
    if Side.BOTH in sides:
        _shrink_per_channel(module, sides[Side.BOTH])
        return
    if isinstance(module, nn.Embedding):
        _replace(module, "weight", weight_of(module)[:, sides[Side.OUT].to(weight_of(module).device)])
        module.embedding_dim = len(sides[Side.OUT])
        return
    small = weight_of(module) if weight is None else weight.clone()
    groups, transposed = blocks_of(module), isinstance(module, Transposed)
    if weight is None and Side.IN in sides:
        small = take_inputs(small, sides[Side.IN], groups, transposed)
    if Side.OUT in sides:
        small = take_outputs(small, sides[Side.OUT], groups, transposed)
        if isinstance(module.bias, Tensor):
            _replace(module, "bias", module.bias[sides[Side.OUT].to(module.bias.device)])
    _replace(module, "weight", small)
    features = isinstance(module, nn.Linear)
    for side, attribute in ((Side.IN, "in"), (Side.OUT, "out")):
        if side in sides:
            setattr(module, f"{attribute}_features" if features else f"{attribute}_channels", len(sides[side]))


def take_inputs(weight: Tensor, index: Tensor, groups: int = 1, transposed: bool = False) -> Tensor:
    """Keep the weights that read the input channels ``index``.

    A convolution in blocks (``groups`` > 1) stores the channels of one block only; they are cut at the same
    positions in every block, so those of the first block say which.
    """
    index = index.to(weight.device)
    if transposed:
        return weight[index]
    return weight[:, index[: len(index) // groups]]


def take_outputs(weight: Tensor, index: Tensor, groups: int = 1, transposed: bool = False) -> Tensor:
    """Keep the weights that write the output channels ``index``; see :func:`take_inputs` for blocks."""
    index = index.to(weight.device)
    if transposed:
        return weight[:, index[: len(index) // groups]]
    return weight[index]


def _shrink_per_channel(module: nn.Module, index: Tensor) -> None:
    multiplier = multiplier_of(module)
    for name in PER_CHANNEL_TENSORS:
        tensor = getattr(module, name, None)
        if isinstance(tensor, Tensor):
            # A transposed depthwise weight is stored by input channels.
            by_input = name == "weight" and isinstance(module, Transposed)
            rows = index[::multiplier] // multiplier if by_input else index
            _replace(module, name, tensor[rows.to(tensor.device)])
    count = len(index)
    if is_depthwise(module):
        module.in_channels = module.groups = count // multiplier
        module.out_channels = count
    elif isinstance(module, nn.GroupNorm):
        module.num_groups = count // (module.num_channels // module.num_groups)
        module.num_channels = count
    elif isinstance(module, nn.PReLU):
        module.num_parameters = count
    else:
        module.num_features = count  # type: ignore[assignment]


def _replace(module: nn.Module, name: str, tensor: Tensor) -> None:
    old = getattr(module, name)
    tensor = tensor.detach().contiguous()
    new = nn.Parameter(tensor, requires_grad=old.requires_grad) if isinstance(old, nn.Parameter) else tensor
    setattr(module, name, new)


def _own_tensors(small: nn.Module, model: nn.Module) -> None:
    """Clone what ``small`` still shares with the network it was copied from."""
    shared = {id(tensor) for tensor in (*model.parameters(), *model.buffers())}
    clones: dict[int, Any] = {}
    for module in small.modules():
        for name, tensor in (*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)):
            if id(tensor) in shared:
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
    for layer_name, norm_name in folds:
        layer: Any = folded.get_submodule(layer_name)
        norm: Any = folded.get_submodule(norm_name)
        fuse = fuse_linear_bn_eval if isinstance(layer, nn.Linear) else _fuse_convolution
        _set_submodule(folded, layer_name, fuse(layer, norm))
        _set_submodule(folded, norm_name, nn.Identity())
    return folded


def _fuse_convolution(layer: Any, norm: Any) -> nn.Module:  # noqa: ANN401
    fused: nn.Module = fuse_conv_bn_eval(layer, norm, transpose=isinstance(layer, Transposed))
    return fused


def _set_submodule(model: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, child = name.rpartition(".")
    setattr(model.get_submodule(parent), child, module)


def mask_inputs(model: nn.Module, channels: Mapping[ChannelDim, Tensor]) -> nn.Module:
    """Return a copy of ``model`` that reads zero instead of the channels that go: the slow twin of ``compact``.

    Masking what consumers read is exact. Masking what producers write is not: a batch norm behind them turns
    zeros into its bias.
    """
    masked = copy.deepcopy(model).eval()
    for (name, side), index in channels.items():
        if side is Side.IN:
            _zero_inputs(masked.get_submodule(name), index)
    return masked


def _zero_inputs(module: nn.Module, index: Tensor) -> None:
    weight = weight_of(module)  # shares its memory with the parameter
    by_input = weight if isinstance(module, Transposed) else weight.transpose(0, 1)
    gone = torch.ones(len(by_input), dtype=torch.bool)
    gone[index if isinstance(module, Transposed) else index[: len(index) // blocks_of(module)]] = False
    by_input[gone.to(weight.device)] = 0
