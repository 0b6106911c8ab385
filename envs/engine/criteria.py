"""Which channels matter: one score a unit from the weights that read it."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from envs.engine.channels import ChannelGroup, Side, Site
from envs.engine.modules import Transposed, blocks_of, weight_of

Criterion = Callable[[Sequence[Tensor]], Tensor]
"""Scores units, shape ``(units,)``, from the rows of every member of their group, each ``(units, weights)``.

Coupled channels, such as those along the shortcuts of a residual stage, have several members: their scores add up.
"""


def l1(rows: Sequence[Tensor]) -> Tensor:
    """Sum of absolute weights.

    References:
        Li et al., 2016, "Pruning Filters for Efficient ConvNets", arXiv 1608.08710; on the weights that read a
        channel as in He et al., 2018, "AMC", arXiv 1802.03494.
    """
    return torch.stack([member.abs().sum(1) for member in rows]).sum(0)


CRITERIA: dict[str, Criterion] = {"l1": l1}


def reading_rows(model: nn.Module, group: ChannelGroup) -> list[Tensor]:
    """Return the weights that read a group's channels, one matrix ``(units, weights)`` a reading layer."""
    return [_input_rows(model.get_submodule(site.module), site, group.units) for site in group.at(Side.IN)]


def _input_rows(module: nn.Module, site: Site, units: int) -> Tensor:
    weight = weight_of(module)
    if isinstance(module, Transposed):
        by_channel: Tensor = weight.flatten(1)
    else:
        blocks = weight.unflatten(0, (blocks_of(module), -1))
        by_channel = blocks.transpose(1, 2).flatten(0, 1).flatten(1)
    order = site.unit.argsort(stable=True)[int((site.unit < 0).sum()) :].to(weight.device)
    rows: Tensor = by_channel[order].unflatten(0, (units, -1)).flatten(1)
    return rows


def ranking(scores: Tensor) -> Tensor:
    """Return the units from most to least important; equal scores keep their order."""
    return scores.argsort(descending=True, stable=True)
