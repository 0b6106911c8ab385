"""Channels that must go together: the members a network's channels appear at, tied into units and groups."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

import torch
from torch import Tensor


class Side(Enum):
    """Where in a module a channel appears."""

    OUT = "out"
    """A filter of a convolution, a row of a linear layer."""
    IN = "in"
    """The weights that read one input channel."""
    BOTH = "both"
    """The same channels in and out: batch norm, group norm, depthwise convolution, PReLU."""


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
        frozen = self._frozen_roots()
        members: dict[int, list[tuple[ChannelDim, int]]] = defaultdict(list)
        unprunable: dict[str, str] = {}
        for dim, width in self.widths.items():
            for index in range(width):
                root = self._root(self._start[dim] + index)
                if root not in frozen:
                    members[root].append((dim, index))
                elif dim[1] is not Side.IN:
                    unprunable.setdefault(dim[0], frozen[root])
        return [self._group(units) for units in _by_signature(members.values())], unprunable

    def _frozen_roots(self) -> dict[int, str]:
        frozen: dict[int, str] = {}
        for node, reason in self._frozen.items():
            frozen.setdefault(self._root(node), reason)
        for node, covered in enumerate(self._covered):
            # A channel nobody produces, such as the network's input, cannot be removed.
            if not covered:
                frozen.setdefault(self._root(node), "reads the network's input or an untraced value")
        return frozen

    def _group(self, units: list[list[tuple[ChannelDim, int]]]) -> ChannelGroup:
        unit_of: dict[ChannelDim, list[int]] = {}
        for number, channels in enumerate(units):
            for dim, index in channels:
                if dim not in unit_of:
                    unit_of[dim] = [-1] * self.widths[dim]  # setting single values of tensors takes seconds
                unit_of[dim][index] = number
        members = tuple(GroupMember(module, side, torch.tensor(unit)) for (module, side), unit in unit_of.items())
        return ChannelGroup(len(units), members)


def _by_signature(units: Iterable[list[tuple[ChannelDim, int]]]) -> list[list[list[tuple[ChannelDim, int]]]]:
    """Put units together that appear equally often at the same dims: one costs what another costs."""
    classes: dict[tuple[tuple[ChannelDim, int], ...], list[list[tuple[ChannelDim, int]]]] = defaultdict(list)
    for channels in units:
        counts: dict[ChannelDim, int] = defaultdict(int)
        for dim, _ in channels:
            counts[dim] += 1
        classes[tuple(counts.items())].append(channels)
    return list(classes.values())
