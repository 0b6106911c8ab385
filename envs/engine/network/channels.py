"""Channels that must go together: the sites a network's channels appear at, tied into units and groups."""

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


Place = tuple[str, Side]
"""A module by name and one of its sides."""


def first_units(rank: Tensor, count: int) -> Tensor:
    """Return which units stay, bool, when the ``count`` most important do; ``rank`` holds them in that order."""
    kept = torch.zeros(len(rank), dtype=torch.bool)
    kept[rank[:count]] = True
    return kept


@dataclass(frozen=True)
class Site:
    """A group's channels at one place.

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
        sites: everywhere the channels appear.
        flops: multiply-accumulates outside of layers, such as attention's, that go with a unit, for one sample.
        counts: numbers that the network's code goes by, and that shrink with the group.
    """

    units: int
    sites: tuple[Site, ...]
    flops: float = 0.0
    counts: tuple[Count, ...] = ()

    def at(self, side: Side) -> tuple[Site, ...]:
        """Return the sites of one side."""
        return tuple(site for site in self.sites if site.side is side)


class ChannelTies:
    """Union-find over the channels of a network.

    A channel is a place and an index. Channels that carry the same value, or must keep company for another
    reason, are tied; what is tied to a frozen channel is frozen.
    """

    def __init__(self, widths: dict[Place, int]) -> None:
        """Start with every channel on its own.

        Args:
            widths: number of channels at every place.
        """
        self.widths = widths
        self._start: dict[Place, int] = {}
        total = 0
        for place, width in widths.items():
            self._start[place] = total
            total += width
        self._parent = list(range(total))
        self._frozen: dict[int, str] = {}
        self._covered = [False] * total

    def _root(self, node: int) -> int:
        while self._parent[node] != node:
            self._parent[node] = self._parent[self._parent[node]]
            node = self._parent[node]
        return node

    def tie(self, channels: Iterable[tuple[Place, int]]) -> None:
        """Tie channels together."""
        nodes = [self._start[place] + index for place, index in channels]
        for node in nodes:
            self._covered[node] = True
        first = self._root(nodes[0])
        for node in nodes[1:]:
            self._parent[self._root(node)] = first

    def tie_positions(self, place: Place, groups: int) -> None:
        """Tie equal positions of a grouped convolution's blocks: all blocks must stay equally wide."""
        width = self.widths[place] // groups
        for position in range(width):
            start = self._start[place] + position
            first = self._root(start)
            for block in range(1, groups):
                self._parent[self._root(start + block * width)] = first

    def tie_runs(self, place: Place, length: int) -> None:
        """Tie channels that stand next to each other, ``length`` at a time: they go together or not at all."""
        start = self._start[place]
        for index in range(self.widths[place]):
            self._parent[self._root(start + index)] = self._root(start + index - index % length)

    def freeze_channel(self, place: Place, index: int, reason: str) -> None:
        """Leave one channel, and what is tied to it."""
        self._frozen.setdefault(self._start[place] + index, reason)

    def freeze(self, place: Place, reason: str) -> None:
        """Leave all channels of a place whole, and what is tied to them."""
        for index in range(self.widths[place]):
            self._frozen.setdefault(self._start[place] + index, reason)

    def groups(self) -> tuple[list[ChannelGroup], dict[str, str]]:
        """Return the groups, and the modules whose outputs stay whole with the reason."""
        frozen = self._frozen_roots()
        members: dict[int, list[tuple[Place, int]]] = defaultdict(list)
        left_whole: dict[str, str] = {}
        for place, width in self.widths.items():
            for index in range(width):
                root = self._root(self._start[place] + index)
                if root not in frozen:
                    members[root].append((place, index))
                elif place[1] is not Side.IN:
                    left_whole.setdefault(place[0], frozen[root])
        return [self._group(units) for units in _by_signature(members.values())], left_whole

    def _frozen_roots(self) -> dict[int, str]:
        frozen: dict[int, str] = {}
        for node, reason in self._frozen.items():
            frozen.setdefault(self._root(node), reason)
        for node, covered in enumerate(self._covered):
            # A channel nobody produces, such as the network's input, cannot be removed.
            if not covered:
                frozen.setdefault(self._root(node), "reads the network's input or an untraced value")
        return frozen

    def _group(self, units: list[list[tuple[Place, int]]]) -> ChannelGroup:
        unit_of: dict[Place, Tensor] = {}
        for number, channels in enumerate(units):
            for place, index in channels:
                if place not in unit_of:
                    unit_of[place] = torch.full((self.widths[place],), -1)
                unit_of[place][index] = number
        sites = tuple(Site(module, side, unit) for (module, side), unit in unit_of.items())
        return ChannelGroup(len(units), sites)


def _by_signature(units: Iterable[list[tuple[Place, int]]]) -> list[list[list[tuple[Place, int]]]]:
    """Put units together that appear equally often at the same places: one costs what another costs."""
    classes: dict[tuple[tuple[Place, int], ...], list[list[tuple[Place, int]]]] = defaultdict(list)
    for channels in units:
        counts: dict[Place, int] = defaultdict(int)
        for place, _ in channels:
            counts[place] += 1
        classes[tuple(counts.items())].append(channels)
    return list(classes.values())
