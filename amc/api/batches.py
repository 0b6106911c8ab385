"""A caller's own batches, as people have them, brought to one form and put together on the device."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset

from envs.engine.network.batches import concatenate, count_samples, to_device
from envs.engine.network.calls import Inputs

Batches = Iterable[Any]
"""Batches: pairs (inputs, targets), or inputs alone where targets are not needed. Inputs are a tensor, or a tuple, list
(arguments) or mapping (arguments by name) of tensors; in a mapping, ``labels`` are the targets."""
BATCH = 32
"""Samples put together where a data set is given instead of batches."""
TARGETS = ("labels", "label", "targets", "target")
"""What targets are called in a batch that is a mapping."""


def as_loader(name: str, batches: Any, need: str = "(inputs, targets)") -> Iterable[Any]:  # noqa: ANN401
    """Return batches of what a caller gave: a list, a loader, a data set of torch or Hugging Face, or a single batch.

    Raises:
        ValueError: it holds no batches.
    """
    if isinstance(batches, Tensor | Mapping) or _is_labelled(batches):
        return [batches]
    if hasattr(batches, "with_format") and hasattr(batches, "column_names"):
        return DataLoader(batches.with_format("torch"), batch_size=BATCH)
    if isinstance(batches, Dataset | IterableDataset):
        return DataLoader(batches, batch_size=BATCH)
    if not isinstance(batches, Iterable):
        raise ValueError(f"{name} is of type {type(batches).__name__}: give a list or loader of batches {need}")
    return batches


def as_inputs(inputs: Any, like: Inputs | None = None) -> Inputs:  # noqa: ANN401  whatever the caller's loader yields
    """Return inputs as networks are called with them; the lists that data loaders make are arguments, too.

    Args:
        inputs: of a batch.
        like: the example input. Where that is one tensor, the only one of a mapping is what is meant.
    """
    if isinstance(inputs, Mapping):
        tensors = list(inputs.values())
        return tensors[0] if isinstance(like, Tensor) and len(tensors) == 1 else dict(inputs)
    return tuple(inputs) if isinstance(inputs, list) else inputs


def as_example(
    name: str,
    number: int,
    batch: Any,  # noqa: ANN401  whatever a loader yields
    like: Inputs | None = None,
) -> tuple[Inputs, Tensor | None]:
    """Return a batch as inputs and targets.

    A pair is (inputs, targets). Without targets a batch is a tensor, a mapping of arguments, a tuple or list of one, or
    a pair whose second part is ``None``.

    Raises:
        ValueError: it is something else.
    """
    if isinstance(batch, Tensor):
        return batch, None
    if isinstance(batch, Mapping):
        key = next((key for key in TARGETS if key in batch), None)
        rest = {each: value for each, value in batch.items() if each != key}
        return as_inputs(rest, like), None if key is None else _checked_targets(name, number, batch[key])
    if isinstance(batch, tuple | list) and len(batch) == 1:
        return (
            as_example(name, number, batch[0], like)
            if isinstance(batch[0], Mapping)
            else (
                as_inputs(batch[0], like),
                None,
            )
        )
    if not isinstance(batch, tuple | list) or len(batch) != 2:
        what = f"a {type(batch).__name__}" + (f" of {len(batch)}" if isinstance(batch, tuple | list) else "")
        raise ValueError(f"{name}: batch {number} is {what}: batches must be pairs (inputs, targets), or inputs alone")
    inputs, targets = batch
    return as_inputs(inputs, like), None if targets is None else _checked_targets(name, number, targets)


def join(
    name: str,
    batches: Any,  # noqa: ANN401
    device: torch.device,
    like: Inputs | None = None,
) -> tuple[Inputs, Tensor | None]:
    """Put batches together on the device, inputs and targets; no targets where no batch has any.

    Raises:
        ValueError: there is no batch, or batches that are not what they should be or do not fit together.
    """
    examples = [as_example(name, number, batch, like) for number, batch in enumerate(as_loader(name, batches))]
    if not examples:
        raise ValueError(f"{name} holds no batch")
    every_input, every_target = zip(*examples, strict=True)
    without = [number for number, targets in enumerate(every_target) if targets is None]
    if without and len(without) < len(examples):
        raise ValueError(f"{name}: batch {without[0]} has no targets, others have: give all or none")
    try:
        inputs = concatenate(every_input)
        targets = None if without else concatenate(every_target)
        count = count_samples(inputs)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
    if like is not None and _kind(inputs) != _kind(like):
        raise ValueError(f"{name}: batches hold {_kind(inputs)}, the example input is {_kind(like)}: give the same")
    if count == 0 or (isinstance(targets, Tensor) and len(targets) != count):
        found = 0 if targets is None else len(targets)
        raise ValueError(f"{name}: {count} inputs and {found} targets: as many are needed, and at least one")
    return to_device(inputs, device), targets.to(device) if isinstance(targets, Tensor) else None


def _kind(inputs: Inputs) -> str:
    """Say how a network would be called with inputs."""
    if isinstance(inputs, Mapping):
        return f"a mapping of {', '.join(map(str, sorted(inputs)))}"
    return f"{len(inputs)} arguments" if isinstance(inputs, tuple) else "one tensor"


def _checked_targets(name: str, number: int, targets: Any) -> Tensor:  # noqa: ANN401
    if not isinstance(targets, Tensor):
        raise ValueError(f"{name}: the targets of batch {number} are a {type(targets).__name__}: give one tensor")
    return targets


def _is_labelled(batches: Any) -> bool:  # noqa: ANN401
    """Whether a pair of tensors is one batch with its class numbers, and not two batches."""
    if not isinstance(batches, tuple) or len(batches) != 2 or not all(isinstance(part, Tensor) for part in batches):
        return False
    inputs, targets = batches
    return inputs.is_floating_point() and not targets.is_floating_point() and len(inputs) == len(targets)
