"""The last check at the door: does removing channels really do what the graph says?"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from envs.engine.calls import Inputs, flatten_outputs, forward
from envs.engine.channels import ChannelGroup, Side
from envs.engine.compact import compact, kept_channels, mask_inputs
from envs.engine.graph import NetworkGraph

TOLERANCE = 1e-4


def removal_fault(model: nn.Module, groups: Sequence[ChannelGroup], inputs: Inputs) -> str:
    """Remove one unit of every group and compare with a masked network; return what is wrong, or nothing.

    Args:
        model: the dense network in eval mode.
        groups: the groups to cut; those of one unit stay whole.
        inputs: an example input.
    """
    kept = [torch.ones(group.units, dtype=torch.bool) for group in groups]
    for units in kept:
        if len(units) > 1:
            units[len(units) // 2] = False
    channels = kept_channels(groups, kept)
    with torch.no_grad():
        expected = flatten_outputs(forward(mask_inputs(model, channels), inputs))
        try:
            found = flatten_outputs(forward(compact(model, channels), inputs))
        except Exception as error:  # whatever the user's forward raises on smaller tensors
            return f"fails when made smaller ({str(error).splitlines()[0]})"
    if [tensor.shape for tensor in found] != [tensor.shape for tensor in expected]:
        return "changes the shape of the output when made smaller"
    if not all(_close(a, b) for a, b in zip(found, expected, strict=True)):
        return "is mixed with other channels on the way"
    return ""


def _close(found: Tensor, expected: Tensor) -> bool:
    scale = float(expected.abs().max()) if expected.numel() else 0.0
    return bool(torch.allclose(found, expected, rtol=0.0, atol=TOLERANCE * max(1.0, scale)))


def keep_removable(model: nn.Module, graph: NetworkGraph, inputs: Inputs) -> NetworkGraph:
    """Drop the groups whose removal does not do what the graph says, and list their producers as left whole.

    All groups are tried at once, one by one only where that fails.
    """
    if not removal_fault(model, graph.groups, inputs):
        return graph
    faults = [removal_fault(model, [group], inputs) for group in graph.groups]
    left_whole = dict(graph.left_whole)
    for group, fault in zip(graph.groups, faults, strict=True):
        if fault:
            left_whole.update({site.module: fault for site in group.sites if site.side is not Side.IN})
    sound = tuple(group for group, fault in zip(graph.groups, faults, strict=True) if not fault)
    return replace(graph, groups=sound, left_whole=left_whole)
