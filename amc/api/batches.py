"""A caller's own batches, as people have them, brought to one form and put together on the device."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, cast

import torch
from numpy import ndarray
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, IterableDataset

from envs.engine.errors import first_line
from envs.engine.network.batches import concatenate, count_samples, take, to_device
from envs.engine.network.calls import Inputs, described, fields_of, forward
from envs.engine.network.isolation import copy_network

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
    if isinstance(batches, Tensor | Mapping | ndarray) or _is_labelled(batches):
        return [batches]
    if hasattr(batches, "with_format") and hasattr(batches, "column_names"):
        chosen = getattr(batches, "format", {}).get("type")  # set_transform and its like stay
        return DataLoader(batches if chosen else batches.with_format("torch"), batch_size=BATCH)
    if isinstance(batches, Dataset | IterableDataset):
        return DataLoader(batches, batch_size=BATCH)
    if fields_of(batches) is not None and not isinstance(batches, Iterable):
        return [batches]
    if not isinstance(batches, Iterable):
        raise ValueError(f"{name} is of type {type(batches).__name__}: give a list or loader of batches {need}")
    return batches


def as_inputs(inputs: Any, like: Inputs | None = None) -> Inputs:  # noqa: ANN401  whatever the caller's loader yields
    """Return inputs as networks are called with them; the lists that data loaders make are arguments, too.

    A single argument is that tensor.

    Args:
        inputs: of a batch.
        like: the example input. Where that is one tensor, the only one of a mapping is what is meant; where it is a
            mapping, what else a batch holds, such as columns of a table, is left out.
    """
    if isinstance(inputs, Mapping):
        names = like if isinstance(like, Mapping) and like.keys() <= inputs.keys() else inputs
        named = {name: _as_tensor(inputs[name]) for name in names}
        return next(iter(named.values())) if isinstance(like, Tensor) and len(named) == 1 else named
    if isinstance(inputs, tuple | list):
        arguments = tuple(map(_as_tensor, inputs))
        if any(isinstance(each, list) for each in arguments):
            raise ValueError(
                "inputs hold a list: give its tensors stacked, as one; torchvision's detectors take that, too"
            )
        return arguments[0] if len(arguments) == 1 and isinstance(arguments[0], Tensor) else arguments
    return _as_tensor(inputs)


def as_example(
    name: str,
    number: int,
    batch: Any,  # noqa: ANN401  whatever a loader yields
    like: Inputs | None = None,
) -> tuple[Inputs, Tensor | None]:
    """Return a batch as inputs and targets.

    A pair is (inputs, targets). Without targets a batch is a tensor, a mapping of arguments, a tuple or list of one, a
    pair whose second part is ``None``, or as many tensors as ``like`` has arguments; one more is their targets.

    Raises:
        ValueError: it is something else.
    """
    if isinstance(batch, Mapping):
        key = next((key for key in TARGETS if key in batch), None)
        rest = {each: value for each, value in batch.items() if each != key}
        return as_inputs(rest, like), None if key is None else _checked_targets(name, number, batch[key])
    if (fields := fields_of(batch)) is not None:  # stays whole: the network takes it as it is
        targets = next((fields[key] for key in TARGETS if key in fields), None)
        return batch, None if targets is None else _checked_targets(name, number, targets)
    if isinstance(batch, Tensor | ndarray):
        return as_inputs(batch), None
    if isinstance(batch, tuple | list) and len(batch) == 1:
        alone = batch[0]
        named = isinstance(alone, Mapping) or fields_of(alone) is not None
        return as_example(name, number, alone, like) if named else (as_inputs(alone, like), None)
    if (count := _argument_count(batch, like)) is not None:
        targets = batch[count] if count < len(batch) else None
        return as_inputs(batch[:count]), None if targets is None else _checked_targets(name, number, targets)
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
        targets = None if without else cast(Tensor, concatenate(every_target))
        count = count_samples(inputs)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
    if like is not None and _kind(inputs) != _kind(like):
        raise ValueError(f"{name}: batches hold {_kind(inputs)}, the example input is {_kind(like)}: give the same")
    if count == 0 or (targets is not None and len(targets) != count):
        found = 0 if targets is None else len(targets)
        raise ValueError(f"{name}: {count} inputs and {found} targets: as many are needed, and at least one")
    return to_device(inputs, device), None if targets is None else targets.to(device)


@contextmanager
def naming(batches: str, model: nn.Module, inputs: Inputs) -> Iterator[None]:
    """Say of an error that it is the network's, where that fails on these batches by itself.

    Args:
        batches: what they are called.
        model: the network.
        inputs: the batches, put together.

    Raises:
        ValueError: it does.
    """
    try:
        yield
    except Exception as error:
        try:
            with torch.no_grad():
                forward(copy_network(model), take(inputs, slice(1)))
        except Exception as fault:  # whatever the user's forward raises
            raise ValueError(
                f"{batches}: the network cannot be called with {described(take(inputs, slice(1)))}: {first_line(fault)}"
            ) from error
        raise


def _kind(inputs: Inputs) -> str:
    """Say how a network would be called with inputs."""
    if isinstance(inputs, Mapping):
        return f"a mapping of {', '.join(map(str, sorted(inputs)))}"
    if isinstance(inputs, tuple):
        return f"{len(inputs)} arguments"
    return "one tensor" if isinstance(inputs, Tensor) else f"a {type(inputs).__name__}"


def _argument_count(batch: Any, like: Inputs | None) -> int | None:  # noqa: ANN401
    """Return how many tensors of a flat batch are arguments, where the example input has several."""
    if not isinstance(like, tuple) or not isinstance(batch, tuple | list):
        return None
    flat = all(isinstance(part, Tensor | ndarray) for part in batch)
    return len(like) if flat and len(batch) - len(like) in (0, 1) else None


def _as_tensor(value: Any) -> Any:  # noqa: ANN401
    """Return arrays of NumPy as tensors, anything else as it is."""
    return torch.from_numpy(value) if isinstance(value, ndarray) else value


def _checked_targets(name: str, number: int, targets: Any) -> Tensor:  # noqa: ANN401
    targets = _as_tensor(targets)
    if not isinstance(targets, Tensor):
        raise ValueError(f"{name}: the targets of batch {number} are a {type(targets).__name__}: give one tensor")
    return targets


def _is_labelled(batches: Any) -> bool:  # noqa: ANN401
    """Whether a pair of tensors is one batch with its class numbers, and not two batches."""
    if not isinstance(batches, tuple) or len(batches) != 2:
        return False
    inputs, targets = map(_as_tensor, batches)
    if not isinstance(inputs, Tensor) or not isinstance(targets, Tensor):
        return False
    return inputs.is_floating_point() and not targets.is_floating_point() and len(inputs) == len(targets)
