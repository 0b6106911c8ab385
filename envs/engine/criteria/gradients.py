"""Derivatives of the loss by every weight: gradients by sample, and the diagonal of the Hessian by two estimates."""

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from envs.engine.network.calls import forward
from envs.engine.network.hooks import hooked
from envs.engine.network.memory_layout import contiguous_where_narrow
from envs.engine.network.samples import Samples

BATCH_SIZE = 100
MOST_SAMPLES = 500
"""Calibration samples that are looked at."""
PROBES = 4
"""Random vectors a batch for Hutchinson's estimate."""

WeightValues = dict[str, Tensor]
"""One value a weight, in the weight's shape, by layer name."""


def sample_gradients(
    model: nn.Module, names: Sequence[str], samples: Samples, most: int = MOST_SAMPLES
) -> Iterator[WeightValues]:
    """Yield the gradient of every sample's loss.

    Args:
        model: the dense network in eval mode; it is not touched.
        names: layers whose weights are asked about.
        samples: calibration data with labels.
        most: samples to look at.

    Raises:
        ValueError: there are no labels.
    """
    batches = samples.batches(1, most)
    network = copy.deepcopy(model).eval().requires_grad_(True)
    weights = [_parameter(network, name) for name in names]
    with hooked(contiguous_where_narrow(network)):
        for inputs, labels in batches:
            with torch.enable_grad():
                gradients = _gradients(samples.loss(forward(network, inputs), labels), weights)
            yield dict(zip(names, gradients, strict=True))


def fisher_diagonal(model: nn.Module, names: Sequence[str], samples: Samples, most: int = MOST_SAMPLES) -> WeightValues:
    """Return the diagonal of the empirical Fisher matrix: the mean over samples of the squared gradient.

    At an optimum of the likelihood, with labels as the model itself would draw them, it equals the Hessian's. One
    backward pass a sample: a batch's gradient, squared, would hide what its samples disagree on.

    Args:
        model: the dense network in eval mode; it is not touched.
        names: layers whose weights are asked about.
        samples: calibration data with labels.
        most: samples to look at.

    Raises:
        ValueError: there are no labels.
    """
    totals: WeightValues = {}
    seen = 0
    for gradients in sample_gradients(model, names, samples, most):
        totals = {name: totals.get(name, 0) + gradient.square() for name, gradient in gradients.items()}
        seen += 1
    return {name: total / seen for name, total in totals.items()}


def hutchinson_diagonal(
    model: nn.Module,
    names: Sequence[str],
    samples: Samples,
    seed: int,
    probes: int = PROBES,
    most: int = MOST_SAMPLES,
) -> WeightValues:
    """Return an unbiased estimate of the Hessian's diagonal: the mean of v * Hv over random signs v.

    Entries may come out negative, from chance or because the loss curves downwards there.

    Args:
        model: the dense network in eval mode; it is not touched.
        names: layers whose weights are asked about.
        samples: calibration data with labels.
        seed: draws the signs.
        probes: vectors a batch; an entry's variance is the sum of its row's other squared entries over their number.
        most: samples to look at.

    Raises:
        ValueError: there are no labels.

    References:
        Bekas, Kokiopoulou and Saad, 2007, "An estimator for the diagonal of a matrix".
    """
    generator = torch.Generator().manual_seed(seed)

    def add(totals: list[Tensor], loss: Tensor, weights: list[Tensor], count: int) -> None:
        gradients = _gradients(loss, weights, create_graph=True)
        for _ in range(probes):
            signs = [_signs(weight, generator) for weight in weights]
            along = torch.stack([(g * v).sum() for g, v in zip(gradients, signs, strict=True)]).sum()
            if not along.requires_grad:
                return  # the loss is linear in the weights
            products = _gradients(along, weights, retain_graph=True)
            for total, sign, product in zip(totals, signs, products, strict=True):
                total += count / probes * sign * product

    return _average(model, names, samples, most, add)


Add = Callable[[list[Tensor], Tensor, list[Tensor], int], None]
"""Adds one batch's derivatives by ``weights`` to ``totals``, times its number of samples."""


def _average(model: nn.Module, names: Sequence[str], samples: Samples, most: int, add: Add) -> WeightValues:
    batches = samples.batches(BATCH_SIZE, most)
    with _differentiable(model) as network:
        weights = [_parameter(network, name) for name in names]
        totals = [torch.zeros_like(weight) for weight in weights]
        seen = 0
        for inputs, labels in batches:
            add(totals, samples.loss(forward(network, inputs), labels), weights, len(labels))
            seen += len(labels)
    return {name: total.detach() / seen for name, total in zip(names, totals, strict=True)}


@contextmanager
def _differentiable(model: nn.Module) -> Iterator[nn.Module]:
    """Give a copy of ``model`` whose gradients can be asked for, whatever is frozen or switched off."""
    network = copy.deepcopy(model).eval().requires_grad_(True)
    with torch.enable_grad(), hooked(contiguous_where_narrow(network)):
        yield network


def _parameter(model: nn.Module, name: str) -> Tensor:
    weight = model.get_submodule(name).weight
    assert isinstance(weight, Tensor)  # noqa: S101  only layers with weights are asked about
    return weight


def _gradients(
    loss: Tensor, weights: list[Tensor], retain_graph: bool = False, create_graph: bool = False
) -> list[Tensor]:
    """Return the gradients of ``loss``; zeros for weights that it does not depend on."""
    retain = retain_graph or create_graph
    return list(torch.autograd.grad(loss, weights, None, retain, create_graph, materialize_grads=True))


def _signs(weight: Tensor, generator: torch.Generator) -> Tensor:
    signs = torch.randint(0, 2, weight.shape, generator=generator) * 2 - 1
    return signs.to(weight.device, weight.dtype)
