"""From a criterion to the order in which units stay."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from envs.engine.criteria.channels import CHANNEL_CRITERIA
from envs.engine.criteria.gradients import WeightValues
from envs.engine.criteria.weights import Criterion, criterion_of, reading_rows
from envs.engine.network.channels import ChannelGroup, Side
from envs.engine.network.isolation import copy_structure
from envs.engine.network.modules import weight_of
from envs.engine.network.samples import Samples
from envs.engine.network.weight_matrix import as_matrix
from envs.engine.settings import EngineSettings
from envs.engine.surgery.granularity import Cut
from envs.engine.surgery.masking import unmasked


class Ranking(NamedTuple):
    """The order in which the units of a weight stay.

    Attributes:
        ranks: every unit's rank in its group, 0 for the most important, int32, ``(groups, units)``, on the CPU.
        scores: of the best, the second best, ... unit, the mean over groups, float32, ``(units,)``, on the CPU.
    """

    ranks: Tensor
    scores: Tensor


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
    criterion = criterion_of(settings.criterion)
    names = list(dict.fromkeys(member.module for group in groups for member in group.at(Side.IN)))
    known = copy_structure(model)
    scores = [torch.zeros(())] * len(groups)
    for values in _statistics(criterion, model, names, samples, settings):
        _set_weights(known, values)
        for number, group in enumerate(groups):
            members = zip(reading_rows(model, group), reading_rows(known, group), strict=True)
            scores[number] = scores[number] + torch.stack([criterion.score(*rows) for rows in members]).sum(0).cpu()
    return scores


def _statistics(
    criterion: Criterion, model: nn.Module, names: Sequence[str], samples: Samples, settings: EngineSettings
) -> Iterable[WeightValues]:
    """Return what a criterion has to know of the weights, nothing once if it needs no more than themselves."""
    return [{}] if criterion.statistic is None else criterion.statistic(model, names, samples, settings)


def _set_weights(model: nn.Module, values: WeightValues) -> None:
    """Put values in place of weights, so that both are cut into rows alike."""
    for name, tensor in values.items():
        model.get_submodule(name).weight = nn.Parameter(tensor, requires_grad=False)


def rank_units(
    model: nn.Module, cuts: Mapping[str, Cut], samples: Samples, settings: EngineSettings
) -> dict[str, Ranking]:
    """Return by layer the order in which its units stay.

    Args:
        model: the dense network in eval mode.
        cuts: how the weight of every layer is cut, by name.
        samples: calibration data.
        settings: the criterion, and what it needs.

    Returns:
        Equal scores keep their order; units that are made of filling or masked come last, and score 0.

    Raises:
        ValueError: the criterion needs labels, and there are none.
    """
    criterion = criterion_of(settings.criterion)
    scores: dict[str, Tensor] = {}
    for values in _statistics(criterion, model, list(cuts), samples, settings):
        for name, cut in cuts.items():
            module = model.get_submodule(name)
            weight = as_matrix(weight_of(module), module)
            known = as_matrix(values[name], module) if name in values else weight
            scores[name] = scores.get(name, torch.zeros(())) + criterion.score(cut.rows(weight), cut.rows(known)).cpu()
    ranks = {}
    for name, cut in cuts.items():
        module = model.get_submodule(name)
        sizes = cut.sizes(as_matrix(unmasked(module), module)).cpu()
        order = scores[name].masked_fill(sizes == 0, -torch.inf).argsort(dim=1, descending=True, stable=True)
        by_rank = scores[name].masked_fill(sizes == 0, 0).gather(1, order)
        ranks[name] = Ranking(_ranks_of(order), by_rank.mean(0))
    return ranks


def _ranks_of(order: Tensor) -> Tensor:
    ranks = torch.empty_like(order, dtype=torch.int32)
    return ranks.scatter_(
        1, order, torch.arange(order.shape[1], dtype=torch.int32, device=order.device).expand_as(order)
    )
