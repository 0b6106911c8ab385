"""Many samples of a network's inputs, cut along their first dimension: one tensor, or a tuple or dict of tensors."""

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from envs.engine.network.calls import Inputs, flatten_outputs, map_tensors

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
    columns = [_concatenate_tensors(parts) for parts in zip(*map(_parts, batches), strict=True)]
    if isinstance(first, Tensor):
        return columns[0]
    return dict(zip(sorted(first), columns, strict=True)) if isinstance(first, Mapping) else tuple(columns)


def _layout(inputs: Inputs) -> object:
    """Return what two batches must have in common to be put together."""
    if isinstance(inputs, Mapping):
        return sorted(inputs)
    return len(inputs) if isinstance(inputs, tuple) else None


def _parts(inputs: Inputs) -> list[object]:
    if isinstance(inputs, Mapping):
        return [inputs[name] for name in sorted(inputs)]
    return list(inputs) if isinstance(inputs, tuple) else [inputs]


def _concatenate_tensors(parts: Sequence[object]) -> Tensor:
    tensors = [part for part in parts if isinstance(part, Tensor)]
    if len(tensors) != len(parts):
        wrong = next(part for part in parts if not isinstance(part, Tensor))
        raise ValueError(f"inputs hold a {type(wrong).__name__}: a tensor, or a tuple or dict of tensors is needed")
    if len({tensor.shape[1:] for tensor in tensors}) > 1 or not all(tensor.ndim for tensor in tensors):
        shapes = ", ".join(sorted({str(tuple(tensor.shape[1:])) for tensor in tensors}))
        raise ValueError(f"samples of different shapes ({shapes}): bring them to one, by padding or resizing")
    return torch.cat(tensors)
