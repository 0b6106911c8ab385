"""Channels that must go together: the members a network's channels appear at, tied into units and groups."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class Side(Enum):
    """Where in a module a channel appears."""

    OUT = "out"
    """A filter of a convolution, a row of a linear layer."""
    IN = "in"
    """The weights that read one input channel."""
    BOTH = "both"
    """The same channels in and out: batch norm, group norm, depthwise convolution, PReLU."""

    # Enum's own is written in Python, and a trace asks for it a million times.
    __hash__ = object.__hash__


IntArray = NDArray[np.int64]
ChannelDim = tuple[str, Side]
"""A module by name and one of its sides."""


def first_units(rank: Tensor, count: int) -> Tensor:
    """Return which units stay, bool, when the ``count`` most important do; ``rank`` holds them in that order."""
    kept = torch.zeros(len(rank), dtype=torch.bool)
    kept[rank[:count]] = True
    return kept


@dataclass(frozen=True)
class GroupMember:
    """A group's channels at one dimension of a module.

    Attributes:
        module: the module's name.
        side: which of its dimensions.
        unit: for every channel of that dimension the unit it belongs to, -1 for channels of other groups,
            int64, shape ``(channels,)``.
    """

    module: str
    side: Side
    unit: Tensor

    def channels(self, kept: Tensor) -> Tensor:
        """Return which channels stay (bool, one per channel) when the units ``kept`` (bool) stay."""
        return (self.unit < 0) | kept[self.unit.clamp_min(0)]

    @property
    def multiplicity(self) -> int:
        """Channels a unit has here, such as the pixels of a flattened feature map."""
        return int((self.unit == 0).sum())


@dataclass(frozen=True)
class Count:
    """A whole number that a module keeps and its code goes by, such as how many heads an attention has.

    Attributes:
        module: the module's name.
        attribute: what it calls the number.
        per_unit: what a unit takes off it when it goes.
    """

    module: str
    attribute: str
    per_unit: int

    @property
    def path(self) -> str:
        """Module and attribute in one."""
        return f"{self.module}.{self.attribute}" if self.module else self.attribute


@dataclass(frozen=True)
class ChannelGroup:
    """Channels that are pruned by one decision: units of equal shape, each with all that is coupled to it.

    Attributes:
        units: how many units there are.
        members: everywhere the channels appear.
        flops: multiply-accumulates outside of layers, such as attention's, that go with a unit, for one sample.
        counts: numbers that the network's code goes by, and that shrink with the group.
        full_width: whether tensors between its layers keep their width, see ``envs.engine.surgery.full_width``.
    """

    units: int
    members: tuple[GroupMember, ...]
    flops: float = 0.0
    counts: tuple[Count, ...] = ()
    full_width: bool = False

    def at(self, side: Side) -> tuple[GroupMember, ...]:
        """Return the members of one side."""
        return tuple(member for member in self.members if member.side is side)


class ChannelTies:
    """Which channels of a network go together: pairs of them, followed to their ends when groups are asked for.

    A channel is a channel dimension and an index. Channels that carry the same value, or must keep company for another
    reason, are tied; what is tied to a frozen channel is frozen. All channels have numbers, those of a dimension one
    after the other.
    """

    def __init__(self, widths: dict[ChannelDim, int]) -> None:
        """Start with every channel on its own.

        Args:
            widths: number of channels at every channel dimension.
        """
        self.widths = widths
        ends = np.cumsum([0, *widths.values()])
        self._start = dict(zip(widths, ends[:-1].tolist(), strict=True))
        self.channels = int(ends[-1])
        self._pairs: list[tuple[IntArray, IntArray]] = []
        self._singles: list[tuple[int, int]] = []
        self._frozen: list[tuple[IntArray, str]] = []
        self._covered = np.zeros(self.channels, dtype=bool)

    def numbers(self, dim: ChannelDim) -> IntArray:
        """Return the numbers of the channels of a dimension, ascending."""
        return np.arange(self._start[dim], self._start[dim] + self.widths[dim])

    def tie(self, channels: Iterable[tuple[ChannelDim, int]]) -> None:
        """Tie channels together."""
        nodes = [self._start[dim] + index for dim, index in channels]
        self._covered[nodes] = True
        self._singles.extend((nodes[0], node) for node in nodes[1:])

    def tie_numbers(self, first: IntArray, second: IntArray, read: IntArray) -> None:
        """Tie channels in pairs.

        Args:
            first: their numbers.
            second: numbers of those that each is tied to.
            read: numbers of channels that are read: a channel that is tied to none of these cannot go.
        """
        self._pairs.append((first, second))
        roots = self._roots()
        self._covered |= np.isin(roots, roots[read])

    def tie_positions(self, dim: ChannelDim, groups: int) -> None:
        """Tie equal positions of a grouped convolution's blocks: all blocks must stay equally wide."""
        blocks = self.numbers(dim).reshape(groups, -1)
        if groups > 1:
            self._pairs.append((np.tile(blocks[0], groups - 1), blocks[1:].ravel()))

    def tie_runs(self, dim: ChannelDim, length: int) -> None:
        """Tie channels that stand next to each other, ``length`` at a time: they go together or not at all."""
        numbers = self.numbers(dim)
        index = np.arange(len(numbers))
        self._pairs.append((numbers[index - index % length], numbers))

    def freeze(self, numbers: IntArray, reason: str) -> None:
        """Keep channels, and what is tied to them."""
        self._frozen.append((numbers, reason))

    def groups(self) -> tuple[list[ChannelGroup], dict[str, str]]:
        """Return the groups, and the modules that keep some of their outputs, with the reason."""
        roots = self._roots()
        frozen = self._frozen_roots(roots)
        stays = np.isin(roots, list(frozen)) if frozen else np.zeros(len(roots), dtype=bool)
        unprunable: dict[str, str] = {}
        for dim, width in self.widths.items():
            start = self._start[dim]
            staying = stays[start : start + width].nonzero()[0]
            if dim[1] is not Side.IN and len(staying):
                unprunable.setdefault(dim[0], frozen[int(roots[start + staying[0]])])
        return self._groups_of(roots, np.flatnonzero(~stays)), unprunable

    def modules_with(self, numbers: IntArray) -> frozenset[str]:
        """Return the modules with a channel that is one of some, or tied to one."""
        roots = self._roots()
        tied = np.isin(roots, roots[numbers])
        return frozenset(name for name, side in self.widths if tied[self.numbers((name, side))].any())

    def _roots(self) -> IntArray:
        """Return for every channel one that stands for all that are tied to it."""
        singles = np.array(self._singles, dtype=np.int64).reshape(-1, 2).T
        first, second = np.concatenate([*map(np.stack, self._pairs), singles], 1)
        roots = np.arange(self.channels)
        while (apart := roots[first] != roots[second]).any():
            first, second = first[apart], second[apart]
            ends = roots[first], roots[second]
            np.minimum.at(roots, np.maximum(*ends), np.minimum(*ends))
            while not np.array_equal(above := roots[roots], roots):
                roots = above
        return roots

    def _frozen_roots(self, roots: IntArray) -> dict[int, str]:
        frozen: dict[int, str] = {}
        for numbers, reason in self._frozen:
            for root in np.unique(roots[numbers]).tolist():
                frozen.setdefault(root, reason)
        # A channel nobody produces, such as the network's input, cannot be removed.
        for root in np.unique(roots[~self._covered]).tolist():
            frozen.setdefault(root, "reads the network's input or an untraced value")
        return frozen

    def _groups_of(self, roots: IntArray, free: IntArray) -> list[ChannelGroup]:
        """Put units together that appear equally often at the same dims: one costs what another costs.

        Args:
            roots: of all channels.
            free: the channels that may go, ascending.
        """
        dims = len(self.widths)
        dim_of = np.repeat(np.arange(dims), list(self.widths.values()))[free]
        _, first, unit_of = np.unique(roots[free], return_index=True, return_inverse=True)
        place = first.argsort().argsort()  # units in the order of their first channels
        unit_of = place[unit_of]
        pairs, counts = np.unique(unit_of * dims + dim_of, return_counts=True)
        codes = np.stack([pairs % dims, counts], 1)
        signatures: dict[bytes, list[int]] = {}
        ends = np.searchsorted(pairs, np.arange(1, len(first) + 1) * dims)
        for unit, (start, end) in enumerate(pairwise((0, *ends.tolist()))):
            signatures.setdefault(codes[start:end].tobytes(), []).append(unit)
        order = unit_of.argsort(kind="stable")
        bounds = np.searchsorted(unit_of[order], np.arange(len(first) + 1))
        return [
            self._group(np.stack([free[order[bounds[unit] : bounds[unit + 1]]] for unit in units]))
            for units in signatures.values()
        ]

    def _group(self, channels: IntArray) -> ChannelGroup:
        """Return a group from the numbers of its channels, ``(units, channels)``, ascending in every unit."""
        dims, starts = list(self.widths), np.array(list(self._start.values()))
        members = []
        columns = np.searchsorted(starts, channels[0], side="right") - 1  # of what dim the channels of a column are
        for number in np.unique(columns):
            module, side = dims[number]
            unit = np.full(self.widths[module, side], -1, dtype=np.int64)
            its = channels[:, columns == number]
            unit[its - starts[number]] = np.arange(len(channels))[:, None]
            members.append(GroupMember(module, side, torch.from_numpy(unit)))
        return ChannelGroup(len(channels), tuple(members))
