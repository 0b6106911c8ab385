"""Which channel groups are like each other, as those of a network's equal blocks are."""

import re

from torch import nn

from envs.engine.network.channels import ChannelGroup, Side

Likeness = frozenset[tuple[str, type[nn.Module], Side]]


def likeness(model: nn.Module, group: ChannelGroup) -> Likeness:
    """Return what groups have in common that stand at the same places of blocks, whatever their widths.

    It is by members: the module's name without numbers and its class, and the side.
    """
    return frozenset(
        (
            re.sub(r"\d+", "", member.module),
            type(model.get_submodule(member.module)),
            member.side,
        )
        for member in group.members
    )
