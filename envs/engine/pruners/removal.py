"""Does removing channels do what masking them does? Tried on the network itself."""

from collections.abc import Collection, Mapping, Sequence
from enum import Enum
from typing import NamedTuple

import torch
from torch import Tensor, nn

from envs.engine.errors import first_line
from envs.engine.network.calls import Inputs, failing_module, flatten_outputs, forward, map_tensors
from envs.engine.network.channels import ChannelDim, ChannelGroup
from envs.engine.network.isolation import copy_modules
from envs.engine.network.modules import BatchNorm
from envs.engine.surgery.compaction import compact_groups, inputs_masked, kept_channels

CLOSE, TOLERANCE, PRECISE = 1e-5, 1e-4, 1e-8
"""Differences between masked and compact network, relative to the largest output; more for short floats.

What is closer than the first is equal. Anything else is looked at in double precision, where only the third counts as
equal: heads that attend to everything alike hide which channels belong to which. Where a network does not run in it,
the second has to do.
"""
MIXED = "is mixed with other channels on the way"
NUMBERS = "is invalid for input of size"
"""What torch says of a shape that is written out."""
SEEDS = (0, 1)


class Stage(Enum):
    """What a smaller network is tried for, in the order in which it is."""

    RUNS = "runs"
    AGREES = "says what the masked network says"
    TRAINS = "runs in training mode"


class Fault(NamedTuple):
    """What is wrong with removing channels.

    Attributes:
        reason: in words.
        seed: of the random halves that show it.
        stage: in which it shows.
        where: the module that failed, by name; empty where none did.
    """

    reason: str
    seed: int
    stage: Stage
    where: str = ""


def removal_fault(
    model: nn.Module,
    groups: Sequence[ChannelGroup],
    inputs: Inputs,
    seeds: Sequence[int] = SEEDS,
    stages: Collection[Stage] = tuple(Stage),
) -> Fault | None:
    """Remove half of every group and compare with a masked network; return what is wrong.

    Args:
        model: the dense network in eval mode; better with weights that hide nothing (:func:`with_noisy_weights`).
        groups: the groups to cut; those of one unit keep it.
        inputs: an example input.
        seeds: of the random halves that are tried; training mode with the first only.
        stages: what is tried.
    """
    later = [stage for stage in stages if stage is not Stage.TRAINS]
    faults = (_fault(model, groups, inputs, seed, stages if seed == seeds[0] else later) for seed in seeds)
    return next((fault for fault in faults if fault), None)


def _fault(
    model: nn.Module, groups: Sequence[ChannelGroup], inputs: Inputs, seed: int, stages: Collection[Stage]
) -> Fault | None:
    generator = torch.Generator().manual_seed(seed)
    kept = [_half(group.units, generator) for group in groups]
    small = model
    try:
        small = compact_groups(model, groups, kept, share=True)
        found = _outputs(small, inputs) if Stage.RUNS in stages or Stage.AGREES in stages else []
        channels = kept_channels(groups, kept)
        fault = _difference(model, found, channels, inputs, CLOSE) if Stage.AGREES in stages else ""
    except Exception as error:  # whatever the user's forward raises on smaller tensors
        hint = "; its code writes sizes out, as x.view(-1, 1024) does" if NUMBERS in str(error) else ""
        reason = f"fails when made smaller ({first_line(error)}{hint})"
        return Fault(reason, seed, Stage.RUNS, failing_module(error, small))
    if fault and not (fault == MIXED and _rounding_alone(model, groups, kept, inputs)):
        return Fault(fault, seed, Stage.AGREES)
    fault = _training_fault(model, small, inputs) if Stage.TRAINS in stages else ""
    return Fault(fault, seed, Stage.TRAINS) if fault else None


@torch.no_grad()
def _outputs(model: nn.Module, inputs: Inputs) -> list[Tensor]:
    return flatten_outputs(forward(model, inputs))


def _difference(
    model: nn.Module, found: Sequence[Tensor], channels: Mapping[ChannelDim, Tensor], inputs: Inputs, tolerance: float
) -> str:
    """Return in what the outputs of the small network differ from those of the masked one, or nothing."""
    with inputs_masked(model, channels):
        expected = _outputs(model, inputs)
    if [tensor.shape for tensor in found] != [tensor.shape for tensor in expected]:
        return "changes the shape of the output when made smaller"
    return "" if all(_close(a, b, tolerance) for a, b in zip(found, expected, strict=True)) else MIXED


def _rounding_alone(model: nn.Module, groups: Sequence[ChannelGroup], kept: Sequence[Tensor], inputs: Inputs) -> bool:
    """Whether the difference goes in double precision, as rounding errors of a deep network do and others do not."""
    channels = kept_channels(groups, kept)
    try:
        precise = copy_modules(model).double()
        small = compact_groups(precise, groups, kept, share=True)
        doubled = map_tensors(inputs, _in_double)
        return not _difference(precise, _outputs(small, doubled), channels, doubled, PRECISE)
    except Exception:  # a network that makes tensors of its own may not run in another precision
        found = _outputs(compact_groups(model, groups, kept, share=True), inputs)
        return not _difference(model, found, channels, inputs, TOLERANCE)


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
            _run_in_training(copy_modules(model), inputs)
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


def _close(found: Tensor, expected: Tensor, tolerance: float) -> bool:
    if not expected.is_floating_point():
        return bool(torch.equal(found, expected))
    finite = expected[expected.isfinite()]
    scale = float(finite.abs().max()) if finite.numel() else 0.0
    tolerance = max(tolerance, 8 * torch.finfo(expected.dtype).eps)
    return bool(torch.allclose(found, expected, rtol=0.0, atol=tolerance * scale, equal_nan=True))
