"""A caller's own batches, checked and put together on the device that networks run on."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from envs.engine.network.batches import concatenate, count_samples, to_device
from envs.engine.network.calls import Inputs

Batches = Iterable[tuple[Any, Tensor]]
"""Pairs (inputs, targets). Inputs are a tensor, or a tuple, list (arguments) or dict (arguments by name) of tensors."""


def as_inputs(inputs: Any) -> Inputs:  # noqa: ANN401  whatever the caller's loader yields
    """Return inputs as networks are called with them; the lists that data loaders make are arguments, too."""
    return tuple(inputs) if isinstance(inputs, list) else inputs


def as_pair(name: str, number: int, batch: Any) -> tuple[Inputs, Tensor]:  # noqa: ANN401
    """Return a batch as (inputs, targets).

    Raises:
        ValueError: it is something else.
    """
    if not isinstance(batch, tuple | list) or len(batch) != 2:
        what = f"a {type(batch).__name__}" + (f" of {len(batch)}" if isinstance(batch, tuple | list) else "")
        raise ValueError(f"{name}: batch {number} is {what}: batches must be pairs (inputs, targets)")
    inputs, targets = batch
    if not isinstance(targets, Tensor):
        raise ValueError(f"{name}: the targets of batch {number} are a {type(targets).__name__}: give one tensor")
    return as_inputs(inputs), targets


def as_example(name: str, number: int, batch: Any) -> tuple[Inputs, Tensor | None]:  # noqa: ANN401  whatever a loader yields
    """Return a batch as inputs and targets.

    A pair is (inputs, targets). Without targets a batch is a tensor, a dict of arguments, a tuple or list of one, or a
    pair whose second part is ``None``.

    Raises:
        ValueError: it is something else.
    """
    if isinstance(batch, tuple | list):
        if len(batch) == 1 or (len(batch) == 2 and batch[1] is None):
            return as_inputs(batch[0]), None
        return as_pair(name, number, batch)
    if isinstance(batch, Tensor | Mapping):
        return batch, None
    return as_pair(name, number, batch)


def join(name: str, batches: Batches, device: torch.device) -> tuple[Inputs, Tensor]:
    """Put batches together on the device, inputs and targets.

    Raises:
        ValueError: there is no batch, or batches that are no pairs or do not fit together; one line says which.
    """
    if not isinstance(batches, Iterable):
        raise ValueError(
            f"{name} is of type {type(batches).__name__}: give a list or loader of batches (inputs, targets)"
        )
    pairs = [as_pair(name, number, batch) for number, batch in enumerate(batches)]
    if not pairs:
        raise ValueError(f"{name} holds no batch")
    every_input, every_target = zip(*pairs, strict=True)
    try:
        inputs, targets = concatenate(every_input), concatenate(every_target)
        count = count_samples(inputs)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
    assert isinstance(targets, Tensor)  # noqa: S101  as every part of them is
    if len(targets) != count or count == 0:
        raise ValueError(f"{name}: {count} inputs and {len(targets)} targets: as many are needed, and at least one")
    return to_device(inputs, device), targets.to(device)
