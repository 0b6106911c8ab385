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
    """Union-find over the channels of a network.

    A channel is a channel dimension and an index. Channels that carry the same value, or must keep company for another
    reason, are tied; what is tied to a frozen channel is frozen.
    """

    def __init__(self, widths: dict[ChannelDim, int]) -> None:
        """Start with every channel on its own.

        Args:
            widths: number of channels at every channel dimension.
        """
        self.widths = widths
        self._start: dict[ChannelDim, int] = {}
        total = 0
        for dim, width in widths.items():
            self._start[dim] = total
            total += width
        self._parent = list(range(total))
        self._frozen: dict[int, str] = {}
        self._covered = [False] * total

    def _root(self, node: int) -> int:
        while self._parent[node] != node:
            self._parent[node] = self._parent[self._parent[node]]
            node = self._parent[node]
        return node

    def tie(self, channels: Iterable[tuple[ChannelDim, int]]) -> None:
        """Tie channels together."""
        nodes = [self._start[dim] + index for dim, index in channels]
        for node in nodes:
            self._covered[node] = True
        first = self._root(nodes[0])
        for node in nodes[1:]:
            self._parent[self._root(node)] = first

    def tie_positions(self, dim: ChannelDim, groups: int) -> None:
        """Tie equal positions of a grouped convolution's blocks: all blocks must stay equally wide."""
        width = self.widths[dim] // groups
        for position in range(width):
            start = self._start[dim] + position
            first = self._root(start)
            for block in range(1, groups):
                self._parent[self._root(start + block * width)] = first

    def tie_runs(self, dim: ChannelDim, length: int) -> None:
        """Tie channels that stand next to each other, ``length`` at a time: they go together or not at all."""
        start = self._start[dim]
        for index in range(self.widths[dim]):
            self._parent[self._root(start + index)] = self._root(start + index - index % length)

    def freeze_channel(self, dim: ChannelDim, index: int, reason: str) -> None:
        """Keep one channel, and what is tied to it."""
        self._frozen.setdefault(self._start[dim] + index, reason)

    def freeze(self, dim: ChannelDim, reason: str) -> None:
        """Keep all channels of a dimension, and what is tied to them."""
        for index in range(self.widths[dim]):
            self._frozen.setdefault(self._start[dim] + index, reason)

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

    def _roots(self) -> IntArray:
        """Return the root of every channel."""
        roots = np.array(self._parent, dtype=np.int64)
        while not np.array_equal(above := roots[roots], roots):
            roots = above
        return roots

    def _frozen_roots(self, roots: IntArray) -> dict[int, str]:
        frozen: dict[int, str] = {}
        for node, reason in self._frozen.items():
            frozen.setdefault(int(roots[node]), reason)
        # A channel nobody produces, such as the network's input, cannot be removed.
        for root in np.unique(roots[~np.array(self._covered, dtype=bool)]).tolist():
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
        signatures: dict[bytes, list[int]] = {}
        ends = np.searchsorted(pairs, np.arange(1, len(first) + 1) * dims)
        for unit, (start, end) in enumerate(pairwise((0, *ends.tolist()))):
            signature = np.stack([pairs[start:end] % dims, counts[start:end]])
            signatures.setdefault(signature.tobytes(), []).append(unit)
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
