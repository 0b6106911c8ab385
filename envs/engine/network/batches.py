"""Many samples of a network's inputs, cut along their first dimension: a tensor, or a tuple, dict or object of some."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from envs.engine.network.calls import Inputs, fields_of, flatten_outputs, map_tensors, with_fields

SampleIndex = slice | Tensor
"""Which samples: a slice of them, or their numbers, int64, shape ``(n,)``."""


def take(inputs: Inputs, samples: SampleIndex) -> Inputs:
    """Return some of the samples, a slice of them as a view."""
    return inputs[samples] if isinstance(inputs, Tensor) else map_tensors(inputs, lambda tensor: tensor[samples])


def split(inputs: Inputs, size: int) -> Iterator[Inputs]:
    """Yield batches of at most ``size`` samples, as views."""
    for start in range(0, count_samples(inputs), size):
        yield take(inputs, slice(start, start + size))


def count_samples(inputs: Inputs) -> int:
    """Return the length of the common first dimension.

    Raises:
        ValueError: there is none; the message says what there is instead.
    """
    counts = {len(tensor) if tensor.ndim else None for tensor in flatten_outputs(inputs)}
    count = counts.pop() if len(counts) == 1 else None
    if count is None:
        shapes = ", ".join(str(tuple(tensor.shape)) for tensor in flatten_outputs(inputs)) or "no tensor"
        raise ValueError(f"inputs of shapes {shapes}: the first dimension must be the samples, as many in each")
    return count


def device_of(inputs: Inputs) -> torch.device:
    """Return the device of the first tensor."""
    return flatten_outputs(inputs)[0].device


def to_device(inputs: Inputs, device: torch.device) -> Inputs:
    """Return the inputs on ``device``."""
    return map_tensors(inputs, lambda tensor: tensor.to(device))


def concatenate(batches: Sequence[Inputs]) -> Inputs:
    """Put batches of one kind together.

    Raises:
        ValueError: they are of different kinds, hold something else than tensors, or do not fit together.
    """
    first = batches[0]
    for number, batch in enumerate(batches):
        if _layout(batch) != _layout(first):
            raise ValueError(f"batch {number} has other inputs than batch 0: all need the same tensors")
    columns = [
        _concatenate_tensors(parts) for parts in zip(*(_parts(batch).values() for batch in batches), strict=True)
    ]
    if isinstance(first, Tensor):
        return columns[0]
    if isinstance(first, tuple):
        return tuple(columns)
    joined = dict(zip(_parts(first), columns, strict=True))
    return joined if isinstance(first, Mapping) else with_fields(first, joined)


def _layout(inputs: Inputs) -> object:
    """Return what two batches must have in common to be put together."""
    return type(inputs) if isinstance(inputs, Tensor) else (isinstance(inputs, tuple), list(_parts(inputs)))


def _parts(inputs: Inputs) -> dict[Any, Any]:
    """Return what is to be put together, by name or position; of an object that is its tensors only."""
    if isinstance(inputs, Mapping):
        return {name: inputs[name] for name in sorted(inputs)}
    if (fields := fields_of(inputs)) is not None:
        return {name: fields[name] for name in sorted(fields) if isinstance(fields[name], Tensor)}
    return dict(enumerate(inputs if isinstance(inputs, tuple) else [inputs]))


def _concatenate_tensors(parts: Sequence[object]) -> Tensor:
    tensors = [part for part in parts if isinstance(part, Tensor)]
    if len(tensors) != len(parts):
        wrong = next(part for part in parts if not isinstance(part, Tensor))
        raise ValueError(f"inputs hold a {type(wrong).__name__}: a tensor, or a tuple or dict of tensors is needed")
    if len({tensor.shape[1:] for tensor in tensors}) > 1 or not all(tensor.ndim for tensor in tensors):
        shapes = ", ".join(sorted({str(tuple(tensor.shape[1:])) for tensor in tensors}))
        raise ValueError(f"samples of different shapes ({shapes}): bring them to one, by padding or resizing")
    return torch.cat(tensors)
