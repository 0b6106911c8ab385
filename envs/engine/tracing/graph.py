"""From a network and an example input to its channel groups."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from time import perf_counter

from torch import nn

from envs.engine.errors import GraphError, first_line
from envs.engine.network.calls import Call, Inputs
from envs.engine.network.channels import ChannelGroup, ChannelTies, Side
from envs.engine.network.isolation import copy_network, random_state_kept
from envs.engine.network.kinds import UNPRUNABLE, kind_of
from envs.engine.network.modules import channel_dims_of, computes_weights, reader_of
from envs.engine.network.time_limit import TimeIsUp, time_limit
from envs.engine.tracing.nan_probing import tie_by_probing
from envs.engine.tracing.preflight import check_names, count_flops, is_inside, screen
from envs.engine.tracing.torch_pruning_graph import Folds, knows_kind, tie_by_autograd

TRACE_SECONDS, TRACE_PASSES = 3.0, 5.0
"""torch-pruning's graph may take so long, and that many times a forward pass with gradients."""
PROBE_SECONDS, FOLD_SECONDS = 120.0, 20.0


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
        from_nan_probing: whether the groups were found by experiment, not from torch-pruning's graph.
        blocks: residual blocks that may go altogether, in the order of their calls, where these were looked for.
    """

    groups: tuple[ChannelGroup, ...]
    calls: dict[str, Call]
    folds: Folds
    unprunable: dict[str, str]
    flops: float = 0.0
    ignore: tuple[str, ...] = ()
    from_nan_probing: bool = False
    blocks: tuple[ResidualBlock, ...] = ()


def trace(model: nn.Module, example_inputs: Inputs, ignore: Sequence[str] = ()) -> NetworkGraph:
    """Find what can be pruned in ``model`` and what each removal takes with it.

    Autograd's graph says so in a moment for most networks. Where torch-pruning cannot read it, takes too long
    (``TRACE_SECONDS``) or does not know a layer that ``LAYER_KINDS`` has, channels are followed by experiment
    (:mod:`envs.engine.tracing.nan_probing`).

    Args:
        model: the network, which is not touched.
        example_inputs: what it is called with; the batch may be one.
        ignore: names of modules that keep all their channels, and all modules inside them.

    Raises:
        GraphError: the network cannot be traced, or ``ignore`` names a module that it does not have.
    """
    model = copy_network(model, share=True).requires_grad_(True)
    check_names(model, ignore)
    with random_state_kept():
        calls = screen(model, example_inputs, ignore)
        # On a copy: torch-pruning's hooks stay behind when it fails. Taken before a pass with gradients, as some
        # networks keep what they computed, and then cannot be copied.
        network = copy_network(model, share=True)
        started = perf_counter()
        try:
            flops = count_flops(model, example_inputs)
        except Exception as error:  # whatever the user's forward raises
            raise GraphError(f"the model fails when gradients are on: {first_line(error)}") from error
        if any(reader_of(name, module) for name, module in model.named_modules()):
            # torch-pruning takes what a module keeps to itself for what leaves it.
            return group_by_nan_probing(model, example_inputs, calls, flops, ignore)
        try:
            with time_limit(TRACE_SECONDS + TRACE_PASSES * (perf_counter() - started)):
                ties = _new_ties(model, calls, ignore)
                folds = tie_by_autograd(ties, network, example_inputs, calls)
        except (Exception, TimeIsUp):  # torch-pruning's own errors, of any kind
            return group_by_nan_probing(model, example_inputs, calls, flops, ignore)
    if not all(knows_kind(model.get_submodule(name)) for name, _ in ties.widths):
        return replace(group_by_nan_probing(model, example_inputs, calls, flops, ignore), folds=folds)
    return _graph(model, ties, NetworkGraph((), calls, folds, {}, flops, tuple(ignore)))


def find_folds(model: nn.Module, example_inputs: Inputs, calls: dict[str, Call]) -> Folds:
    """Return which batch norms can be folded; none where torch-pruning cannot read the network: that costs speed alone.

    Args:
        model: the network, which is not touched.
        example_inputs: what it is called with.
        calls: how its modules are called then.
    """
    network = copy_network(model, share=True).requires_grad_(True)
    try:
        with random_state_kept(), time_limit(FOLD_SECONDS):
            return tie_by_autograd(_new_ties(network, calls, ()), network, example_inputs, calls)
    except (Exception, TimeIsUp):  # torch-pruning's own errors, of any kind
        return ()


def group_by_nan_probing(
    model: nn.Module, inputs: Inputs, calls: dict[str, Call], flops: float, ignore: Sequence[str]
) -> NetworkGraph:
    """Find the channel groups by experiment.

    Raises:
        GraphError: the network cannot be probed, or not within ``PROBE_SECONDS``.
    """
    ties = _new_ties(model, calls, ignore)
    try:
        with time_limit(PROBE_SECONDS), random_state_kept():
            tie_by_probing(ties, model, inputs, calls, PROBE_SECONDS)
    except TimeIsUp as error:
        raise GraphError(
            f"cannot trace {type(model).__name__} within {PROBE_SECONDS:.0f} s: smaller example inputs may help"
        ) from error
    except Exception as error:  # whatever the user's forward raises
        raise GraphError(f"cannot trace {type(model).__name__}: {first_line(error)}") from error
    return _graph(model, ties, NetworkGraph((), calls, (), {}, flops, tuple(ignore), from_nan_probing=True))


def _new_ties(model: nn.Module, calls: dict[str, Call], ignore: Sequence[str]) -> ChannelTies:
    """Return all channels with the ties that single modules make."""
    modules = dict(model.named_modules())
    dims = {}
    for name in sorted(calls, key=lambda name: calls[name].order):
        dims.update(channel_dims_of(name, modules[name]))
    ties = ChannelTies(dims)
    for name, reason in _unsafe_modules(model, calls, ignore):
        for dim in channel_dims_of(name, modules[name]):
            ties.freeze(dim, reason)
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


def _graph(model: nn.Module, ties: ChannelTies, empty: NetworkGraph) -> NetworkGraph:
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
