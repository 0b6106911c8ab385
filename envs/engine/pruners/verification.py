"""Verification of channel groups: those stay whose removal does what the graph says."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

import torch
from torch import nn

from envs.engine.errors import GraphError
from envs.engine.network.calls import Inputs
from envs.engine.network.channels import ChannelGroup, Count, Side
from envs.engine.network.isolation import random_state_kept
from envs.engine.network.time_limit import TimeIsUp, time_limit
from envs.engine.pruners.cost_model import ResourceModel
from envs.engine.pruners.noisy_network import with_noise
from envs.engine.pruners.removal import removal_fault
from envs.engine.surgery.compaction import compact, kept_channels
from envs.engine.surgery.head_counts import candidate_counts, kept_counts
from envs.engine.tracing.graph import NetworkGraph, group_by_nan_probing
from envs.engine.tracing.preflight import count_flops

COUNT_SECONDS = 60.0
"""How long is looked for numbers that have to follow; groups not reached by then are unprunable."""


def keep_removable(model: nn.Module, graph: NetworkGraph, inputs: Inputs) -> NetworkGraph:
    """Drop the groups whose removal does not do what the graph says, and list their producers as unprunable.

    All groups are tried at once, fewer only where that fails. If a group of torch-pruning's graph is at fault,
    the network is probed, and the graph that leaves more to prune is taken.

    Raises:
        GraphError: the network fails on the way.
    """
    with random_state_kept():
        noisy, example = with_noise(model, inputs)
        sound = _sound(noisy, graph, example)
        if not graph.from_nan_probing and len(sound.groups) < len(graph.groups):
            try:
                probed = _sound(
                    noisy, group_by_nan_probing(model, inputs, graph.calls, graph.flops, graph.ignore), example
                )
                sound = max(sound, replace(probed, folds=graph.folds), key=_prunable)
            except GraphError:  # what torch-pruning found stands
                pass
        return _with_functional_flops(model, sound, inputs)


def _with_functional_flops(model: nn.Module, graph: NetworkGraph, inputs: Inputs) -> NetworkGraph:
    """Measure what units take outside of layers, in every group if all groups together say that there is something."""
    if not graph.groups or not _saved_functional_flops(model, graph, inputs, graph.groups):
        return graph
    groups = tuple(
        replace(group, flops=_saved_functional_flops(model, graph, inputs, [group]) / (group.units // 2 or 1))
        for group in graph.groups
    )
    return replace(graph, groups=groups)


def _saved_functional_flops(
    model: nn.Module, graph: NetworkGraph, inputs: Inputs, halved: Sequence[ChannelGroup]
) -> float:
    """Return how many FLOPs more than the layers' arithmetic says go when some groups lose half of their units."""
    kept = [
        torch.arange(group.units) >= (group.units // 2 if any(group is other for other in halved) else 0)
        for group in graph.groups
    ]
    small = compact(model, kept_channels(graph.groups, kept), counts=kept_counts(graph.groups, kept))
    small.requires_grad_(True)
    expected = ResourceModel(model, graph).cost([int(units.sum()) for units in kept]).flops
    return expected - count_flops(small, inputs)


def _prunable(graph: NetworkGraph) -> int:
    return sum(
        len(member.unit) - int((member.unit < 0).sum()) for group in graph.groups for member in group.at(Side.IN)
    )


def _sound(model: nn.Module, graph: NetworkGraph, inputs: Inputs) -> NetworkGraph:
    faults = _faults(model, list(enumerate(graph.groups)), inputs)
    counted = _counted(model, {number: graph.groups[number] for number in faults}, inputs)
    graph = replace(graph, groups=tuple(counted.get(number, group) for number, group in enumerate(graph.groups)))
    faults = {number: fault for number, fault in faults.items() if number not in counted}
    alone = [group for number, group in enumerate(graph.groups) if number not in faults]
    if removal_fault(model, alone, inputs):
        # Some groups fail in company only: each is tried with those before it.
        alone = []
        for number, group in enumerate(graph.groups):
            fault = faults.get(number) or removal_fault(model, [*alone, group], inputs)
            if fault:
                faults[number] = fault
            else:
                alone.append(group)
    unprunable = dict(graph.unprunable)
    for number, fault in faults.items():
        unprunable.update(
            {member.module: fault for member in graph.groups[number].members if member.side is not Side.IN}
        )
    return replace(graph, groups=tuple(alone), unprunable=unprunable)


def _counted(model: nn.Module, groups: Mapping[int, ChannelGroup], inputs: Inputs) -> dict[int, ChannelGroup]:
    """Return the groups that can be removed after all if numbers that the network's code goes by follow, with those."""
    found: dict[int, ChannelGroup] = {}
    names: tuple[str, ...] = ()
    with suppress(TimeIsUp), time_limit(COUNT_SECONDS):
        for number, group in groups.items():
            # What helped a group most likely helps the next one.
            candidates = sorted(candidate_counts(model, group), key=lambda counts: _attributes(counts) != names)
            for counts in candidates:
                counted = replace(group, counts=counts)
                if not removal_fault(model, [counted], inputs):
                    found[number], names = counted, _attributes(counts)
                    break
    return found


def _attributes(counts: Sequence[Count]) -> tuple[str, ...]:
    return tuple(count.attribute for count in counts)


def _faults(model: nn.Module, groups: Sequence[tuple[int, ChannelGroup]], inputs: Inputs) -> dict[int, str]:
    """Return what is wrong with single groups, by their numbers; of what fails, halves are tried, and their halves."""
    fault = removal_fault(model, [group for _, group in groups], inputs, rounds=1)
    if not fault or len(groups) < 2:
        return {number: fault for number, _ in groups if fault}
    middle = len(groups) // 2
    return _faults(model, groups[:middle], inputs) | _faults(model, groups[middle:], inputs)
