"""Which layers read a channel group, and which of their input channels stay when it loses units."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from envs.engine.network.channels import ChannelGroup, GroupMember, Side, first_units


@dataclass(frozen=True)
class Reader:
    """How a layer's columns depend on the groups it reads.

    Attributes:
        groups: numbers of the groups that it reads.
        members: its inputs as members of these groups.
        ranks: for every such group the units from most to least important.
    """

    groups: tuple[int, ...]
    members: tuple[GroupMember, ...]
    ranks: tuple[Tensor, ...]

    def channels(self, kept: Sequence[int]) -> Tensor:
        """Return which input channels stay, bool, with ``kept`` units left in each of the groups."""
        mask = torch.ones(len(self.members[0].unit), dtype=torch.bool)
        for member, rank, count in zip(self.members, self.ranks, kept, strict=True):
            mask &= member.channels(first_units(rank, count))
        return mask


def find_readers(groups: Sequence[ChannelGroup], ranks: Sequence[Tensor]) -> dict[str, Reader]:
    """Return for every layer which groups it reads and how."""
    found: dict[str, list[tuple[int, GroupMember]]] = {}
    for number, group in enumerate(groups):
        for member in group.at(Side.IN):
            found.setdefault(member.module, []).append((number, member))
    return {
        name: Reader(
            tuple(number for number, _ in entries),
            tuple(member for _, member in entries),
            tuple(ranks[number] for number, _ in entries),
        )
        for name, entries in found.items()
    }
