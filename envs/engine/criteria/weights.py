"""What every weight of a unit is worth, added up to one score a unit: criteria that go with every granularity.

A criterion sees rows of weights, ``(..., weights)``, and where it needs it a statistic of the same shape. For
granularity channel the rows are the weights that read a channel, as in AMC. Coupled channels, such as those along
the shortcuts of a residual stage, have several members: their scores add up.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from envs.engine.criteria.gradients import WeightValues, fisher_diagonal, hutchinson_diagonal, sample_gradients
from envs.engine.network.channels import ChannelGroup, GroupMember, Side
from envs.engine.network.modules import weight_of
from envs.engine.network.samples import Samples
from envs.engine.network.weight_matrix import by_input_channel
from envs.engine.plugins import find
from envs.engine.settings import EngineSettings

Statistic = Callable[[nn.Module, Sequence[str], Samples, EngineSettings], Iterable[WeightValues]]
"""``(dense network, layer names, calibration data, settings)`` -> values for every weight of these layers: one set, or
several, such as one a sample, whose scores add up."""

DAMPING = 1.0
"""Curvature that every weight has at least, relative to the mean of its layer."""


class Criterion(NamedTuple):
    """How units are ranked.

    Attributes:
        score: ``(weights, statistics)``, both ``(..., weights)`` -> one score a unit, ``(...)``, higher is better;
            without a statistic the weights are given twice.
        statistic: what it needs to know of every weight; ``None`` if nothing.
    """

    score: Callable[[Tensor, Tensor], Tensor]
    statistic: Statistic | None = None


def l1(weights: Tensor, _: Tensor) -> Tensor:
    """Sum of absolute weights.

    References:
        Li et al., 2016, "Pruning Filters for Efficient ConvNets", arXiv 1608.08710; on the weights that read a
        channel as in He et al., 2018, "AMC", arXiv 1802.03494.
    """
    return weights.abs().sum(-1)


def l2(weights: Tensor, _: Tensor) -> Tensor:
    """Euclidean norm of the weights."""
    return weights.square().sum(-1).sqrt()


def obd(weights: Tensor, curvature: Tensor) -> Tensor:
    """Optimal Brain Damage: 1/2 H_ii w_i^2, how much the loss grows without the weight, summed over the unit.

    The gradient is taken as zero, as the network is trained, and so are the mixed second derivatives.

    References:
        LeCun, Denker and Solla, 1989, "Optimal Brain Damage".
    """
    return (0.5 * curvature * weights.square()).sum(-1)


def taylor(weights: Tensor, gradient: Tensor) -> Tensor:
    """First order: how much the loss of a sample changes without the unit, (sum g_i w_i)^2, added over samples.

    Squared sample by sample, as in the paper of 2019 batch by batch: a trained network's mean gradient is zero but for
    noise, and what is left of it ranks little better than chance.

    References:
        Molchanov et al., 2017, "Pruning Convolutional Neural Networks for Resource Efficient Inference",
        arXiv 1611.06440; Molchanov et al., 2019, "Importance Estimation for Neural Network Pruning", arXiv 1906.10771.
    """
    return (gradient * weights).sum(-1).square()


def random(_: Tensor, draws: Tensor) -> Tensor:
    """Pure chance, the control: the draw of the unit's first weight."""
    return draws[..., 0]


def curvature(model: nn.Module, names: Sequence[str], samples: Samples, settings: EngineSettings) -> list[WeightValues]:
    """Return the Hessian's diagonal as ``settings.curvature`` estimates it, damped.

    The estimate is rough, and holds for small changes only. Without damping, weights go because the loss happens to
    be flat around them, however large they are.
    """
    if settings.curvature == "hutchinson":
        diagonal = hutchinson_diagonal(model, names, samples, settings.seed)
    else:
        diagonal = fisher_diagonal(model, names, samples)
    return [{name: values + DAMPING * values.abs().mean() for name, values in diagonal.items()}]


def gradients(model: nn.Module, names: Sequence[str], samples: Samples, _: EngineSettings) -> Iterable[WeightValues]:
    """Return the gradient of the loss of every calibration sample."""
    return sample_gradients(model, names, samples)


def draws(model: nn.Module, names: Sequence[str], _: Samples, settings: EngineSettings) -> list[WeightValues]:
    """Return a number from [0, 1) for every weight."""
    generator = torch.Generator().manual_seed(settings.seed)
    weights = {name: weight_of(model.get_submodule(name)) for name in names}
    drawn = {
        name: torch.rand(weight.shape, generator=generator).to(weight.device, weight.dtype)
        for name, weight in weights.items()
    }
    return [drawn]


CRITERIA: dict[str, Criterion] = {
    "l1": Criterion(l1),
    "l2": Criterion(l2),
    "obd": Criterion(obd, curvature),
    "taylor": Criterion(taylor, gradients),
    "random": Criterion(random, draws),
}


def criterion_of(name: str) -> Criterion:
    """Return a criterion of the table, or one's own: a ``Criterion``, or a function of rows of weights.

    Raises:
        ValueError: there is none of that name, or it is no function.
    """
    found: object = find("criteria", name, CRITERIA)
    if isinstance(found, Criterion):
        return found
    if not callable(found):
        raise ValueError(f"criterion={name} is a {type(found).__name__}: it must be a function of rows of weights")
    return Criterion(lambda weights, _: _scores_of(name, found, weights))


def _scores_of(name: str, function: Callable[[Tensor], Tensor], weights: Tensor) -> Tensor:
    scores: object = function(weights)
    if not isinstance(scores, Tensor) or scores.shape != weights.shape[:-1]:
        what = tuple(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
        raise ValueError(f"criterion={name} returns {what} for {tuple(weights.shape)}: one score a row is needed")
    return scores


def reading_rows(model: nn.Module, group: ChannelGroup) -> list[Tensor]:
    """Return the weights that read a group's channels, one matrix ``(units, weights)`` a reading layer."""
    return [_input_rows(model.get_submodule(member.module), member, group.units) for member in group.at(Side.IN)]


def _input_rows(module: nn.Module, member: GroupMember, units: int) -> Tensor:
    weight = weight_of(module)
    order = member.unit.argsort(stable=True)[int((member.unit < 0).sum()) :].to(weight.device)
    rows: Tensor = by_input_channel(weight, module)[order].unflatten(0, (units, -1)).flatten(1)
    return rows


def ranking(scores: Tensor) -> Tensor:
    """Return the units from most to least important; equal scores keep their order."""
    return scores.argsort(descending=True, stable=True)
