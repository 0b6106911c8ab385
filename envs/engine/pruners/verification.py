"""Verification of channel groups: those stay whose removal does what the graph says.

All groups are tried at once, which most networks pass. Of what fails, the first group is found by halving; numbers that
its network's code goes by may have to follow (:mod:`envs.engine.surgery.head_counts`), or the tensors between its
layers keep their width (:mod:`envs.engine.surgery.full_width`). What holds for one block of a network is tried on all
blocks like it before the next fault is looked for.
"""

from dataclasses import replace

from torch import nn

from envs.engine.costs.functional_flops import with_functional_flops
from envs.engine.errors import GraphError
from envs.engine.network.calls import Inputs
from envs.engine.network.channels import Side
from envs.engine.network.isolation import random_state_kept
from envs.engine.network.modules import channel_dims_of
from envs.engine.pruners.fault_search import FaultSearch
from envs.engine.pruners.noisy_network import with_noise
from envs.engine.pruners.removal import Fault, removal_fault
from envs.engine.tracing.graph import NetworkGraph, Way, group_by_nan_probing, trace_otherwise
from envs.engine.tracing.torch_pruning_graph import STUCK_TO_PARAMETER

Noisy = tuple[nn.Module, Inputs]
"""A network with noise on its weights, and its example input."""
FAR_LESS, FEW = 0.5, 0.2


def keep_removable(model: nn.Module, graph: NetworkGraph, inputs: Inputs) -> NetworkGraph:
    """Drop the groups whose removal does not do what the graph says, and list their producers as unprunable.

    If a group of torch-pruning's graph is at fault, the network is probed, and the graph that leaves more to prune is
    taken.

    Raises:
        GraphError: the network fails on the way.
    """
    with random_state_kept():
        noisy, example = with_noise(model, inputs)
        found = _checked(model, graph, inputs, (noisy, example))
        enough = max(FAR_LESS * _prunable(graph), FEW * _readable(model, graph))
        if graph.found_by is Way.LABELS and _prunable(found) < enough:
            found = max(found, _checked_otherwise(model, graph, inputs, (noisy, example)), key=_prunable)
        return with_functional_flops(model, found, inputs)


def _checked_otherwise(model: nn.Module, graph: NetworkGraph, inputs: Inputs, noisy: Noisy) -> NetworkGraph:
    """Return what is found without labels, or the graph there is with no group."""
    try:
        other = trace_otherwise(model, inputs, graph.calls, graph.ignore)
    except GraphError:
        return replace(graph, groups=())
    if STUCK_TO_PARAMETER in other.unprunable.values():
        # Such as a table of what heads add to their scores; torch-pruning knows nothing of it.
        other = max(other, _probe(model, other, inputs), key=_prunable)
    return _checked(model, replace(other, folds=graph.folds), inputs, noisy)


def _checked(model: nn.Module, graph: NetworkGraph, inputs: Inputs, noisy: Noisy) -> NetworkGraph:
    """Drop what is at fault; where torch-pruning's graph is, the network is probed."""
    fault = removal_fault(noisy[0], graph.groups, noisy[1])
    if fault is None:
        return graph
    found = _probe(model, graph, inputs) if graph.found_by is Way.AUTOGRAD else graph
    sound = _sound(noisy[0], found, noisy[1], fault if found is graph else None)
    # What torch-pruning found stands where probing leaves far less.
    if found is not graph and _prunable(sound) < FAR_LESS * _prunable(graph):
        sound = max(sound, _sound(noisy[0], graph, noisy[1]), key=_prunable)
    # To what a module is coupled says more than what failed.
    coupled = dict.fromkeys(graph.own_parameters, STUCK_TO_PARAMETER)
    coupled |= {name: why for name, why in graph.unprunable.items() if why.startswith("is coupled")}
    known = {name: why for name, why in coupled.items() if name in sound.unprunable}
    return replace(sound, unprunable=sound.unprunable | known)


def _probe(model: nn.Module, graph: NetworkGraph, inputs: Inputs) -> NetworkGraph:
    """Return the graph that probing finds, or the one there is where the network cannot be probed."""
    try:
        probed = group_by_nan_probing(model, inputs, graph.calls, graph.flops, graph.ignore)
    except GraphError:
        return graph
    return replace(probed, folds=graph.folds)


def _prunable(graph: NetworkGraph) -> int:
    return sum(
        len(member.unit) - int((member.unit < 0).sum()) for group in graph.groups for member in group.at(Side.IN)
    )


def _readable(model: nn.Module, graph: NetworkGraph) -> int:
    """Return how many channels the layers of a network read."""
    dims = (channel_dims_of(name, model.get_submodule(name)) for name in graph.calls)
    return sum(width for widths in dims for (_, side), width in widths.items() if side is Side.IN)


def _sound(model: nn.Module, graph: NetworkGraph, inputs: Inputs, fault: Fault | None = None) -> NetworkGraph:
    """Drop groups, and let numbers follow others, until those that are left pass together.

    Args:
        model: the network with noise.
        graph: its groups.
        inputs: its example input.
        fault: of all groups together, where that is known.
    """
    search = FaultSearch(model, inputs, graph.groups)
    fault = fault or removal_fault(model, search.left, inputs)
    while fault is not None:
        search.resolve(fault)
        fault = removal_fault(model, search.left, inputs) if search.left else None
    unprunable = dict(graph.unprunable)
    for number, reason in search.faults.items():
        unprunable.update(
            {member.module: reason for member in graph.groups[number].members if member.side is not Side.IN}
        )
    return replace(graph, groups=tuple(search.left), unprunable=unprunable)
