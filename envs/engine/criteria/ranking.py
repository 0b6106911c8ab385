"""From a criterion to the order in which units stay."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from envs.engine.criteria.channels import CHANNEL_CRITERIA
from envs.engine.criteria.gradients import WeightValues
from envs.engine.criteria.weights import CRITERIA, reading_rows
from envs.engine.network.channels import ChannelGroup, Side
from envs.engine.network.modules import weight_of
from envs.engine.network.samples import Samples
from envs.engine.network.weight_matrix import as_matrix
from envs.engine.settings import EngineSettings
from envs.engine.surgery.compact import copy_structure
from envs.engine.surgery.granularity import Cut
from envs.engine.surgery.masking import unmasked


def score_channels(
    model: nn.Module, groups: Sequence[ChannelGroup], samples: Samples, settings: EngineSettings
) -> list[Tensor]:
    """Return for every group the scores of its units, higher for those that should stay, shape ``(units,)``.

    Coupled channels score as the sum over the group's members.

    Raises:
        GraphError: the criterion has nothing to go by in this network.
        ValueError: it needs labels, and there are none.
    """
    if settings.criterion in CHANNEL_CRITERIA:
        return CHANNEL_CRITERIA[settings.criterion](model, groups, samples, settings)
    return _reading_scores(model, groups, samples, settings)


def _reading_scores(
    model: nn.Module, groups: Sequence[ChannelGroup], samples: Samples, settings: EngineSettings
) -> list[Tensor]:
    """Score channels by the weights that read them."""
    criterion = CRITERIA[settings.criterion]
    known = model
    if criterion.statistic is not None:
        names = list(dict.fromkeys(member.module for group in groups for member in group.at(Side.IN)))
        known = _with_weights(model, criterion.statistic(model, names, samples, settings))
    scores = []
    for group in groups:
        members = zip(reading_rows(model, group), reading_rows(known, group), strict=True)
        scores.append(torch.stack([criterion.score(*rows) for rows in members]).sum(0))
    return scores


def _with_weights(model: nn.Module, values: WeightValues) -> nn.Module:
    """Return the network with values in place of weights, so that both are cut into rows alike."""
    replaced = copy_structure(model)
    for name, tensor in values.items():
        replaced.get_submodule(name).weight = nn.Parameter(tensor, requires_grad=False)
    return replaced


def rank_units(
    model: nn.Module, cuts: Mapping[str, Cut], samples: Samples, settings: EngineSettings
) -> dict[str, Tensor]:
    """Return the place of every unit in the order of its group, 0 for the most important.

    Args:
        model: the dense network in eval mode.
        cuts: how the weight of every layer is cut, by name.
        samples: calibration data.
        settings: the criterion, and what it needs.

    Returns:
        int32, shape ``(groups, units)``, on the CPU. Equal scores keep their order; units that are made
        of filling or masked come last.

    Raises:
        ValueError: the criterion needs labels, and there are none.
    """
    criterion = CRITERIA[settings.criterion]
    values = criterion.statistic(model, list(cuts), samples, settings) if criterion.statistic is not None else {}
    ranks = {}
    for name, cut in cuts.items():
        module = model.get_submodule(name)
        weight = as_matrix(weight_of(module), module)
        known = as_matrix(values[name], module) if name in values else weight
        scores = criterion.score(cut.rows(weight), cut.rows(known))
        sizes = cut.sizes(as_matrix(unmasked(module), module))
        ranks[name] = _ranks_of(scores.masked_fill(sizes == 0, -torch.inf)).cpu()
    return ranks


def _ranks_of(scores: Tensor) -> Tensor:
    order = scores.argsort(dim=1, descending=True, stable=True)
    ranks = torch.empty_like(order, dtype=torch.int32)
    return ranks.scatter_(
        1, order, torch.arange(order.shape[1], dtype=torch.int32, device=order.device).expand_as(order)
    )
