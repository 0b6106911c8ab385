"""Verification of channel groups: does removing channels really do what the graph says?"""

import copy
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

import torch
from torch import Tensor, nn

from envs.engine.errors import GraphError
from envs.engine.network.calls import Inputs, flatten_outputs, forward, map_tensors
from envs.engine.network.channels import ChannelDim, ChannelGroup, Count, Side
from envs.engine.network.isolation import first_line, random_state_kept
from envs.engine.network.modules import BatchNorm
from envs.engine.network.time_limit import TimeIsUp, time_limit
from envs.engine.pruners.cost_model import ResourceModel
from envs.engine.surgery.compact import compact, kept_channels, mask_inputs
from envs.engine.surgery.head_counts import candidate_counts, kept_counts
from envs.engine.tracing.graph import NetworkGraph, group_by_nan_probing
from envs.engine.tracing.preflight import count_flops

TOLERANCE = 1e-4
"""Largest difference between masked and compact network, relative to the largest output; more for short floats."""
MIXED = "is mixed with other channels on the way"
ROUNDS = 2
COUNT_SECONDS = 60.0
"""How long is looked for numbers that have to follow; groups not reached by then stay whole."""
NOISE = 0.1


def removal_fault(model: nn.Module, groups: Sequence[ChannelGroup], inputs: Inputs, rounds: int = ROUNDS) -> str:
    """Remove half of every group and compare with a masked network; return what is wrong, or nothing.

    Args:
        model: the dense network in eval mode; better with weights that hide nothing (:func:`with_noisy_weights`).
        groups: the groups to cut; those of one unit stay whole.
        inputs: an example input.
        rounds: how many random halves are tried.
    """
    generator = torch.Generator().manual_seed(0)
    faults = (_fault(model, groups, inputs, generator) for _ in range(rounds))
    return next((fault for fault in faults if fault), "")


def _fault(model: nn.Module, groups: Sequence[ChannelGroup], inputs: Inputs, generator: torch.Generator) -> str:
    kept = [_half(group.units, generator) for group in groups]
    channels, counts = kept_channels(groups, kept), kept_counts(groups, kept)
    try:
        small = compact(model, channels, counts=counts)
        fault = _difference(model, small, channels, inputs)
    except Exception as error:  # whatever the user's forward raises on smaller tensors
        return f"fails when made smaller ({first_line(error)})"
    if fault == MIXED and _rounding_alone(model, channels, counts, inputs):
        fault = ""
    return fault or _training_fault(model, small, inputs)


@torch.no_grad()
def _difference(model: nn.Module, small: nn.Module, channels: Mapping[ChannelDim, Tensor], inputs: Inputs) -> str:
    """Return in what the small network differs from the masked one, or nothing."""
    expected = flatten_outputs(forward(mask_inputs(model, channels), inputs))
    found = flatten_outputs(forward(small, inputs))
    if [tensor.shape for tensor in found] != [tensor.shape for tensor in expected]:
        return "changes the shape of the output when made smaller"
    return "" if all(_close(a, b) for a, b in zip(found, expected, strict=True)) else MIXED


def _rounding_alone(
    model: nn.Module, channels: Mapping[ChannelDim, Tensor], counts: Mapping[str, int], inputs: Inputs
) -> bool:
    """Whether the difference goes in double precision, as rounding errors of a deep network do and others do not."""
    precise = copy.deepcopy(model).double()
    try:
        small = compact(precise, channels, counts=counts)
        return not _difference(precise, small, channels, map_tensors(inputs, _in_double))
    except Exception:  # a network that makes tensors of its own may not run in another precision
        return False


def _in_double(tensor: Tensor) -> Tensor:
    return tensor.double() if tensor.is_floating_point() else tensor


def _half(units: int, generator: torch.Generator) -> Tensor:
    kept = torch.ones(units, dtype=torch.bool)
    kept[torch.randperm(units, generator=generator)[: units // 2]] = False
    return kept


def _training_fault(model: nn.Module, small: nn.Module, inputs: Inputs) -> str:
    """Return what goes wrong in training mode, where networks may have other paths, such as auxiliary heads.

    A network that does not run in training mode on the example input (as one that wants targets then) is not tried.
    """
    try:
        _run_in_training(small, inputs)
    except Exception as error:  # whatever the user's forward raises on smaller tensors
        try:
            _run_in_training(copy.deepcopy(model), inputs)
        except Exception:  # the user's forward wants something else in training
            return ""
        return f"fails in training mode when made smaller ({first_line(error)})"
    return ""


def _run_in_training(model: nn.Module, inputs: Inputs) -> None:
    model.train()
    for module in model.modules():
        if isinstance(module, BatchNorm):
            module.eval()  # statistics of a single sample may not exist
    with torch.no_grad():
        forward(model, inputs)


def _close(found: Tensor, expected: Tensor) -> bool:
    if not expected.is_floating_point():
        return bool(torch.equal(found, expected))
    finite = expected[expected.isfinite()]
    scale = float(finite.abs().max()) if finite.numel() else 0.0
    tolerance = max(TOLERANCE, 8 * torch.finfo(expected.dtype).eps)
    return bool(torch.allclose(found, expected, rtol=0.0, atol=tolerance * scale, equal_nan=True))


def with_noisy_weights(model: nn.Module) -> nn.Module:
    """Return a copy of ``model`` with noise on all weights and statistics.

    A fault shows in the output only if nothing hides it: branches that start at zero, fresh batch norms to which a
    channel of zeros and an absent one are the same, biases of zero.
    """
    noisy = copy.deepcopy(model)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for tensor in noisy.parameters():
            if tensor.is_floating_point() and tensor.numel():
                tensor.add_(_noise(tensor, generator), alpha=NOISE * _scale(tensor))
        for module in noisy.modules():
            if isinstance(module, BatchNorm) and module.running_mean is not None and module.running_var is not None:
                module.running_mean.add_(module.running_var.sqrt() * _noise(module.running_mean, generator))
                module.running_var.mul_(1 + _noise(module.running_var, generator).abs())
    return noisy


def _scale(tensor: Tensor) -> float:
    """Return the size that a weight has or, where it is smaller than usual, that it usually has."""
    usual = tensor[0].numel() ** -0.5 if tensor.ndim > 1 else 1.0
    return max(usual, float(tensor.square().mean().sqrt()))


def _noise(like: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randn(like.shape, generator=generator).to(like)


def keep_removable(model: nn.Module, graph: NetworkGraph, inputs: Inputs) -> NetworkGraph:
    """Drop the groups whose removal does not do what the graph says, and list their producers as left whole.

    All groups are tried at once, fewer only where that fails. If a group of torch-pruning's graph is at fault,
    the network is probed, and the graph that leaves more to prune is taken.

    Raises:
        GraphError: the network fails on the way.
    """
    with random_state_kept():
        noisy, example = _challenge(model, inputs)
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


def _challenge(model: nn.Module, inputs: Inputs) -> tuple[nn.Module, Inputs]:
    """Return network and input with as much noise as the network stands without failing or overflowing."""
    for candidate, example in (
        (with_noisy_weights(model), map_tensors(inputs, _with_noise)),
        (with_noisy_weights(model), inputs),
    ):
        try:
            with torch.no_grad():
                outputs = flatten_outputs(forward(candidate, example))
        except Exception:  # noqa: S112  the network may accept certain values only
            continue
        if not any(bool(output.isnan().any()) for output in outputs):
            return candidate, example
    return model, inputs


def _with_noise(tensor: Tensor) -> Tensor:
    """Make an example input of zeros or ones show more."""
    if not tensor.is_floating_point():
        return tensor
    return tensor + NOISE * _noise(tensor, torch.Generator().manual_seed(0))


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
