"""What pruning has to know about a network, and how it is put together from ties between channels."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import Enum

from torch import nn

from envs.engine.network.calls import Call
from envs.engine.network.channels import ChannelGroup, ChannelTies, Side
from envs.engine.network.kinds import UNPRUNABLE, kind_of
from envs.engine.network.modules import channel_dims_of, computes_weights, reader_of
from envs.engine.tracing.preflight import is_inside
from envs.engine.tracing.torch_pruning_graph import Folds


class Way(Enum):
    """How channel groups are found."""

    LABELS = "labels"
    AUTOGRAD = "torch-pruning's graph"
    PROBING = "probing"


@dataclass(frozen=True)
class ResidualBlock:
    """A module that can go altogether.

    Attributes:
        name: of the module.
        stream: shape of what it adds to, with the batch.
        values: how many values it returns, see ``Passed``.
        flops: multiply-accumulates in it for one sample, also those outside of layers.
    """

    name: str
    stream: tuple[int, ...]
    values: int
    flops: float


@dataclass(frozen=True)
class NetworkGraph:
    """What pruning has to know about a network.

    Attributes:
        groups: the channel groups, in the order in which their channels are first read.
        calls: how the leaf modules are called on the example input, by name.
        folds: (convolution or linear layer, batch norm) pairs where the norm alone reads the layer directly.
        unprunable: modules that keep all their output channels, with the reason.
        flops: multiply-accumulates of the dense network for one sample, also those outside of layers.
        ignore: modules that were not to be pruned.
        found_by: how the groups were found.
        own_parameters: modules whose channels meet a parameter outside of layers, where that was seen.
        blocks: residual blocks that may go altogether, in the order of their calls, where these were looked for.
    """

    groups: tuple[ChannelGroup, ...]
    calls: dict[str, Call]
    folds: Folds
    unprunable: dict[str, str]
    flops: float = 0.0
    ignore: tuple[str, ...] = ()
    found_by: Way = Way.PROBING
    own_parameters: frozenset[str] = frozenset()
    blocks: tuple[ResidualBlock, ...] = ()


def new_ties(model: nn.Module, calls: dict[str, Call], ignore: Sequence[str]) -> ChannelTies:
    """Return all channels with the ties that single modules make."""
    modules = dict(model.named_modules())
    dims = {}
    for name in sorted(calls, key=lambda name: calls[name].order):
        dims.update(channel_dims_of(name, modules[name]))
    ties = ChannelTies(dims)
    for name, reason in _unsafe_modules(model, calls, ignore):
        for dim in channel_dims_of(name, modules[name]):
            ties.freeze(ties.numbers(dim), reason)
    for dim, width in dims.items():
        name, side = dim
        kind = kind_of(modules[name])
        if kind is not None and side is not Side.IN and kind.run(modules[name]) > 1:
            ties.tie_runs(dim, kind.run(modules[name]))
        if kind is not None and side is not Side.BOTH:
            ties.tie_positions(dim, kind.blocks(modules[name]))
        reader = (reader_of(name, modules[name]), Side.IN)
        if reader in dims:
            for channel in range(width):
                ties.tie([(dim, channel), (reader, channel)])
    return ties


def graph_of(model: nn.Module, ties: ChannelTies, empty: NetworkGraph) -> NetworkGraph:
    """Fill in the groups, and what is unprunable."""
    groups, unprunable = ties.groups()
    for group in groups:
        if group.units == 1:  # nothing to choose from
            mixed = "is mixed with other channels on the way" if len(group.members[0].unit) > 1 else "has one channel"
            unprunable.update({member.module: mixed for member in group.members if member.side is not Side.IN})
    readable = [group for group in groups if group.units > 1 and group.at(Side.IN)]
    ordered = sorted(readable, key=lambda group: min(empty.calls[member.module].order for member in group.at(Side.IN)))
    return replace(empty, groups=tuple(ordered), unprunable=unprunable | _unprunable_kinds(model))


def _unprunable_kinds(model: nn.Module) -> dict[str, str]:
    """Return the modules that are never made smaller, with the reason."""
    reasons = {}
    for name, module in model.named_modules():
        if computes_weights(module):
            reasons[name] = "computes its weights (parametrization, weight norm): remove that before pruning"
            continue
        reason = next((reason for layer, reason in UNPRUNABLE.items() if isinstance(module, layer)), None)
        if reason is not None and kind_of(module) is None:
            reasons[name] = reason
    return reasons


def _unsafe_modules(model: nn.Module, calls: dict[str, Call], ignore: Sequence[str]) -> Iterable[tuple[str, str]]:
    """Yield modules whose channels must stay, with the reason."""
    users: dict[int, list[str]] = defaultdict(list)
    for path, parameter in model.named_parameters(remove_duplicate=False):
        users[id(parameter)].append(path.rpartition(".")[0])
    for name, module in model.named_modules(remove_duplicate=False):
        if name not in calls:
            continue
        if is_inside(name, ignore):
            yield name, "is ignored"
        elif not calls[name].inputs or not calls[name].outputs:
            yield name, "is not called with a tensor, or returns no tensor"
        elif calls[name].count > 1:
            yield name, f"is called {calls[name].count} times"
        else:
            sharing = {user for parameter in module.parameters(recurse=False) for user in users[id(parameter)]} - {name}
            if sharing:
                yield name, f"shares its weights with {', '.join(sorted(sharing))}"
