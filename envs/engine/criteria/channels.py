"""Criteria that look at channels as a whole, and so go with granularity channel only."""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from envs.engine.criteria.lasso import entry_penalties
from envs.engine.errors import GraphError
from envs.engine.network.calls import Inputs
from envs.engine.network.channels import ChannelGroup, GroupMember, Side
from envs.engine.network.modules import (
    BatchNorm,
    blocks_of,
    channel_axis_of,
    is_product,
    is_reconstructible,
    weight_of,
)
from envs.engine.network.samples import Samples
from envs.engine.network.weight_matrix import by_block
from envs.engine.repair.calibration import InputMoments, collect_moments, watch_inputs
from envs.engine.settings import EngineSettings

ChannelCriterion = Callable[[nn.Module, Sequence[ChannelGroup], Samples, EngineSettings], list[Tensor]]
"""``(dense network, groups, calibration data, settings)`` -> for every group a score a unit, higher is better."""


def bn_scale(model: nn.Module, groups: Sequence[ChannelGroup], _: Samples, __: EngineSettings) -> list[Tensor]:
    """Absolute scale that batch norm gives a channel, summed over all norms that the group's channels pass.

    Those are the norms behind every layer that writes the channels, the depthwise ones among them.

    Raises:
        GraphError: a group's channels pass no batch norm with a scale.

    References:
        Liu et al., 2017, "Learning Efficient Convolutional Networks through Network Slimming", arXiv 1708.06519.
    """
    return [_sum_over(_norms(model, group), group) for group in groups]


def _norms(model: nn.Module, group: ChannelGroup) -> list[tuple[GroupMember, Tensor]]:
    norms = [(member, model.get_submodule(member.module)) for member in group.at(Side.BOTH)]
    scales = [(member, weight_of(norm).abs()) for member, norm in norms if isinstance(norm, BatchNorm) and norm.affine]
    if not scales:
        raise GraphError(
            f"criterion=bn_scale: no batch norm scales what {_reader(group)} reads; take another criterion"
        )
    return scales


def apoz(model: nn.Module, groups: Sequence[ChannelGroup], samples: Samples, _: EngineSettings) -> list[Tensor]:
    """Share of a channel's activations that are not zero: one minus APoZ, summed over the layers that read it.

    The zeros are counted where the channel is read, over all calibration inputs and positions: what a layer reads is
    what its producer's activation function let through, whether that is a module or not. Depthwise layers inside
    the group read, too. Channels that nothing makes zero all score alike and keep their order.

    Raises:
        GraphError: nothing that is read is ever zero: the network has no ReLU.

    References:
        Hu et al., 2016, "Network Trimming", arXiv 1607.03250.
    """
    readers = [[member for member in group.members if _reads(model, member)] for group in groups]
    names = list(dict.fromkeys(member.module for members in readers for member in members))
    zeros = shares_of_zeros(model, names, samples.inputs)
    if not any(bool(share.any()) for share in zeros.values()):
        raise GraphError("criterion=apoz: no layer reads a zero, as it would behind a ReLU; take another criterion")
    scores = []
    for group, members in zip(groups, readers, strict=True):
        alive = [(member, (1 - zeros[member.module]) / member.multiplicity) for member in members]
        scores.append(_sum_over(alive, group))
    return scores


def _reads(model: nn.Module, member: GroupMember) -> bool:
    return member.side is Side.IN or (member.side is Side.BOTH and is_product(model.get_submodule(member.module)))


def shares_of_zeros(model: nn.Module, names: Sequence[str], inputs: Inputs) -> dict[str, Tensor]:
    """Return how often every input channel of the named layers is exactly zero.

    Args:
        model: a network in eval mode.
        names: convolutions and linear layers that it calls.
        inputs: what it is called with, in batches.

    Returns:
        Shares by layer, float64, shape ``(input channels,)``.
    """
    counts: dict[str, Tensor] = {}
    seen: dict[str, int] = dict.fromkeys(names, 0)

    def count(name: str, module: nn.Module, values: Tensor) -> None:
        by_channel = values.movedim(channel_axis_of(module, values), 0).flatten(1)
        counts[name] = counts.get(name, torch.zeros(())) + (by_channel == 0).sum(1).cpu()
        seen[name] += by_channel.shape[1]

    watch_inputs(model, names, inputs, count)
    return {name: counts[name].double() / seen[name] for name in names}


def regression(
    model: nn.Module, groups: Sequence[ChannelGroup], samples: Samples, settings: EngineSettings
) -> list[Tensor]:
    """Lasso regression: the penalty at which a channel enters the reconstruction of what its readers compute.

    Every channel gets one coefficient, in all layers that read it; the error is summed over these layers, each
    relative to the energy that its channels add one by one. Falling penalties let in one channel after the other.
    Kept sets nested in that order are what least squares then repairs. The paper searches the penalty for the one
    number of channels it wants; here a channel that leaves again on the way, which is rare, counts from where it
    first came in.

    Raises:
        GraphError: only transposed or depthwise convolutions read a group.

    References:
        He, Zhang and Sun, 2017, "Channel Pruning for Accelerating Very Deep Neural Networks", arXiv 1707.06168.
    """
    readers = [_regressed(model, group) for group in groups]
    names = list(dict.fromkeys(member.module for members in readers for member in members))
    moments = collect_moments(model, names, samples.inputs, settings.seed)
    return [
        entry_penalties(group_gram(model, members, group.units, moments))
        for group, members in zip(groups, readers, strict=True)
    ]


def group_gram(
    model: nn.Module, members: Sequence[GroupMember], units: int, moments: Mapping[str, InputMoments]
) -> Tensor:
    """Return Q, ``(units, units)``: the mean product of what two units add to their readers' outputs.

    Args:
        model: the dense network.
        members: the inputs of the group's readers.
        units: of the group.
        moments: of the readers' inputs.
    """
    total = torch.zeros(units, units, dtype=torch.float64)
    for member in members:
        gram = channel_gram(model.get_submodule(member.module), moments[member.module]).cpu()
        inside = member.unit >= 0
        chosen = torch.zeros(len(member.unit), units, dtype=torch.float64)
        chosen[inside, member.unit[inside]] = 1.0
        gram = chosen.T @ gram @ chosen
        total += gram / gram.trace().clamp_min(torch.finfo(torch.float64).tiny)
    return total


def channel_gram(module: nn.Module, moments: InputMoments) -> Tensor:
    """Return the mean product, over samples and outputs, of what two input channels add to a layer's outputs.

    Args:
        module: a convolution or linear layer.
        moments: of its inputs; their mean is taken off where a bias can stand in for it.

    Returns:
        float64, shape ``(input channels, input channels)``; 0 between channels of different blocks.
    """
    blocks = blocks_of(module)
    weight = by_block(weight_of(module).double(), blocks)
    kernel = weight_of(module)[0, 0].numel()
    products = weight.transpose(1, 2) @ weight * moments.second_moment(centered=isinstance(module.bias, Tensor))
    by_channel = products.unflatten(2, (-1, kernel)).unflatten(1, (-1, kernel)).sum((2, 4))
    return torch.block_diag(*by_channel)


def _regressed(model: nn.Module, group: ChannelGroup) -> list[GroupMember]:
    members = [member for member in group.at(Side.IN) if is_reconstructible(model.get_submodule(member.module))]
    if not members:
        raise GraphError(f"criterion=regression: {_reader(group)} has no outputs to regress on; take another criterion")
    return members


def _sum_over(members: Sequence[tuple[GroupMember, Tensor]], group: ChannelGroup) -> Tensor:
    """Add up values by channel, each with its member, to values by unit."""
    total = torch.zeros(group.units, dtype=torch.float64)
    for member, values in members:
        inside = member.unit >= 0
        total.index_add_(0, member.unit[inside], values.double().cpu()[inside])
    return total


def _reader(group: ChannelGroup) -> str:
    return group.at(Side.IN)[0].module


CHANNEL_CRITERIA: dict[str, ChannelCriterion] = {"bn_scale": bn_scale, "apoz": apoz, "regression": regression}
