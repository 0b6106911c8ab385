"""Fit one layer of a pruned network, with the batch norm behind it, to what the dense network computes there."""

import torch
from torch import Tensor, nn

from envs.engine.network.modules import blocks_of, weight_of
from envs.engine.network.weight_matrix import by_block
from envs.engine.repair.compensating.ridge_regression import Correction, RidgeRegression

ROUNDS = 2
"""How often the values that a ReLU makes zero anyway are given free, and the layer fitted again."""
NEGLIGIBLE = 1e-5
"""Errors below this, relative to what is wanted, are rounding; so are scales of a batch norm, relative to the mean."""


def fit_layer(
    layer: nn.Module,
    norm: nn.Module | None,
    read: Tensor,
    wanted: Tensor,
    ridge: float,
    other: Tensor | None = None,
    bounds: tuple[float, float] | None = None,
) -> None:
    """Change a layer's weights and bias, or its norm's mean, so that ``norm(layer) + other`` comes close to ``wanted``.

    What a ReLU behind it clips need not be met: where ``wanted`` is at or below zero, anything at or below zero is as
    good. So least squares are repeated with the clipped values replaced by what the fit gave, where it was on the same
    side, else by the bound. Each round lowers the distance to the nearest values that the ReLU maps as wanted.

    Args:
        layer: a convolution or linear layer.
        norm: the batch norm in eval mode that alone reads it.
        read: what the layer reads, shape ``(blocks, samples, columns)``.
        wanted: shape ``(samples, channels)``.
        ridge: towards the weights that are there, relative to the mean variance of what the layer reads.
        other: what is added behind the norm, of that shape.
        bounds: what the result is clipped to, then.
    """
    scale, offset = _affine(norm, wanted)
    if isinstance(layer.bias, Tensor):
        offset = offset + scale * layer.bias
    blocks = blocks_of(layer)
    read = read.contiguous()  # a block's samples beside each other: products of strided ones take twice as long
    weight = by_block(weight_of(layer), blocks).to(read.dtype)
    before = _joined(read @ weight.transpose(1, 2)) * scale + offset
    if other is not None:
        before = before + other
    error = wanted - before
    if not bool(error.abs().max() > NEGLIGIBLE * wanted.abs().max()):
        return
    intercept = norm is not None or isinstance(layer.bias, Tensor)
    alive = scale.abs() > NEGLIGIBLE * scale.abs().mean()
    inverse = torch.where(alive, 1 / scale, 0)
    regression = RidgeRegression(read, ridge, intercept)
    correction = regression.fit(_by_block(error * inverse, blocks))
    for _ in range(ROUNDS if bounds is not None else 0):
        change = _joined(read @ correction.weight.transpose(1, 2) + correction.shift.unsqueeze(1)) * scale
        error = give_clipped_free(wanted, before + change, bounds) - before
        correction = regression.fit(_by_block(error * inverse, blocks))
    _apply(layer, norm, correction)


def give_clipped_free(wanted: Tensor, fitted: Tensor, bounds: tuple[float, float] | None) -> Tensor:
    """Return the values nearest to ``fitted`` that are clipped to the same as ``wanted``."""
    if bounds is None:
        return wanted
    low, high = bounds
    free = torch.where(wanted <= low, fitted.clamp_max(low), wanted)
    return torch.where(wanted >= high, fitted.clamp_min(high), free)


def _affine(norm: nn.Module | None, like: Tensor) -> tuple[Tensor, Tensor]:
    """Return scale and offset of a batch norm in eval mode, by channel."""
    ones = torch.ones_like(like[0])
    if norm is None:
        return ones, torch.zeros_like(ones)
    mean, variance, eps = norm.running_mean, norm.running_var, norm.eps
    assert isinstance(mean, Tensor) and isinstance(variance, Tensor) and isinstance(eps, float)  # noqa: S101, PT018
    weight = norm.weight.detach() if isinstance(norm.weight, Tensor) else ones
    bias = norm.bias.detach() if isinstance(norm.bias, Tensor) else torch.zeros_like(ones)
    scale = weight * (variance + eps).rsqrt()
    return scale, bias - scale * mean


def _by_block(values: Tensor, blocks: int) -> Tensor:
    return values.unflatten(1, (blocks, -1)).transpose(0, 1)


def _joined(values: Tensor) -> Tensor:
    return values.transpose(0, 1).flatten(1)


def _apply(layer: nn.Module, norm: nn.Module | None, correction: Correction) -> None:
    weight = weight_of(layer)  # shares its memory with the parameter
    weight += correction.weight.reshape(weight.shape).to(weight.dtype)
    shift = correction.shift.flatten()
    if isinstance(layer.bias, Tensor):
        layer.bias.data += shift.to(layer.bias.dtype)
    elif norm is not None:
        assert isinstance(norm.running_mean, Tensor)  # noqa: S101  a fold has statistics
        norm.running_mean -= shift.to(norm.running_mean.dtype)
