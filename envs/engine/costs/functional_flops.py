"""Multiply-accumulates outside of layers, such as attention's, that go with the units of channel groups."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import isclose

import torch
from torch import nn

from envs.engine.costs.cost_model import ResourceModel, multiply_accumulates
from envs.engine.costs.likeness import likeness
from envs.engine.network.calls import Inputs
from envs.engine.network.channels import ChannelGroup
from envs.engine.surgery.compaction import compact_groups
from envs.engine.tracing.graph import NetworkGraph
from envs.engine.tracing.preflight import count_flops


def with_functional_flops(model: nn.Module, graph: NetworkGraph, inputs: Inputs) -> NetworkGraph:
    """Measure what units take outside of layers, in every group if all groups together say that there is something.

    Groups that are like each other and see tensors of the same shapes are measured once, if that adds up.
    """
    if not graph.groups or not _outside_of_layers(model, graph):
        return graph
    together = _saved(model, graph, inputs, graph.groups)
    if not together:
        return graph
    likes = [_measured_like(model, graph, group) for group in graph.groups]
    one_each = dict(zip(likes, graph.groups, strict=True))
    by_like = _measure(model, graph, inputs, list(one_each.items()))
    saved = [by_like[like] for like in likes]
    if not isclose(sum(saved), together, rel_tol=1e-9):
        saved = [_saved(model, graph, inputs, [group]) for group in graph.groups]
    groups = (
        replace(group, flops=flops / (group.units // 2 or 1)) for group, flops in zip(graph.groups, saved, strict=True)
    )
    return replace(graph, groups=tuple(groups))


def _outside_of_layers(model: nn.Module, graph: NetworkGraph) -> bool:
    """Whether the dense network multiplies anywhere but in layers that are called once."""
    layers = sum(multiply_accumulates(model.get_submodule(name), call) for name, call in graph.calls.items())
    return not isclose(layers, graph.flops, rel_tol=1e-9)


def _measure(
    model: nn.Module, graph: NetworkGraph, inputs: Inputs, groups: Sequence[tuple[object, ChannelGroup]]
) -> dict[object, float]:
    """Return what groups save, by what they are like; where many save nothing together, none does by itself."""
    together = _saved(model, graph, inputs, [group for _, group in groups])
    if len(groups) == 1 or not together:
        return dict.fromkeys((like for like, _ in groups), together)
    halves = groups[: len(groups) // 2], groups[len(groups) // 2 :]
    first = _measure(model, graph, inputs, halves[0])
    if sum(first.values()) == together:  # beside the first, the second half saves nothing
        return first | dict.fromkeys((like for like, _ in halves[1]), 0.0)
    return first | _measure(model, graph, inputs, halves[1])


def _measured_like(model: nn.Module, graph: NetworkGraph, group: ChannelGroup) -> object:
    calls: Mapping[str, object] = {
        member.module: (graph.calls[member.module].inputs, graph.calls[member.module].outputs)
        for member in group.members
    }
    return group.units, likeness(model, group), tuple(calls.values())


def _saved(model: nn.Module, graph: NetworkGraph, inputs: Inputs, halved: Sequence[ChannelGroup]) -> float:
    """Return how many FLOPs more than the layers' arithmetic says go when some groups lose half of their units."""
    kept = [
        torch.arange(group.units) >= (group.units // 2 if any(group is other for other in halved) else 0)
        for group in graph.groups
    ]
    small = compact_groups(model, graph.groups, kept)
    small.requires_grad_(True)
    expected = ResourceModel(model, graph).cost([int(units.sum()) for units in kept]).flops
    return expected - count_flops(small, inputs)
