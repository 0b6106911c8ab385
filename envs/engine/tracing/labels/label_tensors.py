"""Tensors of labels: for every value of a tensor the number of the channel that it depends on.

Zero is no channel. Along most axes, such as those of an image, all labels are the same: these axes have stride zero and
cost nothing. What depends on several channels carries one of them, and the channels are tied.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from envs.engine.network.channels import IntArray

LABEL = torch.int32


class NotFollowed(Exception):
    """Labels got lost: the network changes tensors in a way that is not understood."""


class Pairs:
    """Labels that go together, two at a time.

    Args:
        labels: how many there are, with zero.
    """

    def __init__(self, labels: int) -> None:
        self._labels = labels
        self._found: list[Tensor] = []

    def add(self, first: Tensor, second: Tensor) -> None:
        """Tie the labels of two tensors, where both have one."""
        first, second = torch.broadcast_tensors(first, second)
        apart = (first != second) & (first > 0) & (second > 0)
        if not bool(apart.any()):
            return
        pairs = torch.stack([first[apart], second[apart]])
        while pairs.shape[1] > self._labels:  # most say the same: one for each at a time, which is faster than sorting
            partner = torch.zeros(self._labels, dtype=LABEL)
            partner[pairs[0]] = pairs[1]
            (each,) = partner.nonzero(as_tuple=True)
            self._found.append(torch.stack([each.to(LABEL), partner[each]]))
            pairs = pairs[:, partner[pairs[0]] != pairs[1]]
        self._found.append(pairs)

    def as_arrays(self) -> tuple[IntArray, IntArray]:
        """Return the first and the second of all pairs."""
        first, second = torch.cat([torch.zeros(2, 0, dtype=LABEL), *self._found], 1).long().numpy()
        return first, second

    def numbers(self, several: Sequence[Tensor]) -> IntArray:
        """Return all labels in some tensors, ascending."""
        there = torch.zeros(self._labels, dtype=torch.bool)
        for labels in several:
            there[core(labels).flatten()] = True
        there[0] = False
        numbers: IntArray = there.nonzero().flatten().numpy()
        return numbers


def core(labels: Tensor) -> Tensor:
    """Return labels with one position along the axes that they do not depend on."""
    for axis, stride in enumerate(labels.stride()):
        if stride == 0 and labels.shape[axis] > 1:
            labels = labels.narrow(axis, 0, 1)
    return labels


def compressed(labels: Tensor) -> Tensor:
    """Find the axes that labels do not depend on, and give these stride zero."""
    shape = labels.shape
    labels = core(labels)
    for axis, size in enumerate(labels.shape):
        if size > 1:
            one = labels.narrow(axis, 0, 1)
            if bool((labels == one).all()):
                labels = one
    return labels.expand(shape)


def reshaped(labels: Tensor, shape: torch.Size) -> Tensor:
    """Return labels in another shape."""
    result = labels.reshape(shape)
    return result if result.data_ptr() == labels.data_ptr() else compressed(result)


def of_channels(channels: Tensor, axis: int, shape: Sequence[int]) -> Tensor:
    """Return the labels of a tensor that has one a position of an axis."""
    view = [1] * len(shape)
    view[axis] = len(channels)
    return channels.view(view).expand(*shape)


def united(labels: Tensor, axes: Sequence[int], pairs: Pairs) -> Tensor:
    """Tie what lies along some axes, and return the labels with one position there."""
    labels = core(labels)
    mixing = [axis % labels.ndim for axis in axes if labels.shape[axis] > 1]
    if not mixing or not labels.numel():
        return labels
    largest = labels.amax(mixing, keepdim=True)
    pairs.add(labels, largest)
    return largest


def joined(several: Sequence[Tensor], pairs: Pairs) -> Tensor:
    """Tie what meets position by position, and return the labels of that."""
    result = core(several[0])
    for other in several[1:]:
        other = core(other)
        pairs.add(result, other)
        result = torch.maximum(*torch.broadcast_tensors(result, other))
    return result


def side_by_side(several: Sequence[Tensor], axis: int) -> Tensor:
    """Return the labels of tensors that are put next to each other."""
    cores = [core(each) for each in several]
    shape = [max(sizes) for sizes in zip(*(each.shape for each in cores), strict=True)]
    parts = []
    for each, labels in zip(cores, several, strict=True):
        shape[axis] = labels.shape[axis]
        parts.append(each.expand(shape))
    return torch.cat(parts, axis)
