"""Ridge regression of what is wrong with a layer's outputs on what the layer reads."""

from typing import NamedTuple

import torch
from torch import Tensor


class Correction(NamedTuple):
    """What to add to a layer's parameters.

    Attributes:
        weight: shape ``(blocks, outputs of a block, columns)``.
        shift: what to add to the outputs, shape ``(blocks, outputs of a block)``; 0 without an intercept.
    """

    weight: Tensor
    shift: Tensor


class RidgeRegression:
    """What takes an error away from a layer's outputs as well as can be.

    With X the inputs and E the error, X about its mean where there is an intercept,

        argmin_D mean ||E - X D^T||^2 + ridge v ||D||^2 = E^T X / n (X^T X / n + ridge v I)^-1,

    v the mean variance of a block's inputs. D is added to the weights: the ridge is towards those that are there.
    """

    def __init__(self, inputs: Tensor, ridge: float, intercept: bool) -> None:
        """Factor the inputs' second moments.

        Args:
            inputs: shape ``(blocks, samples, columns)``.
            ridge: relative to the mean variance of the inputs.
            intercept: whether the outputs can be shifted, too.
        """
        self._intercept = intercept
        self._mean = inputs.mean(1, keepdim=True) if intercept else torch.zeros_like(inputs[:, :1])
        self._centered = inputs - self._mean
        gram = (self._centered.transpose(1, 2) @ self._centered).double() / inputs.shape[1]
        diagonal = gram.diagonal(dim1=1, dim2=2)
        # What hardly varies about a mean that is not zero is the mean's rounding, and nothing to fit weights to.
        rounding = self._mean.double().square().mean(2) * torch.finfo(inputs.dtype).eps
        diagonal += torch.maximum(ridge * diagonal.mean(1, keepdim=True), rounding).clamp_min(
            torch.finfo(torch.float32).tiny
        )
        self._factor = torch.linalg.cholesky(gram)

    def fit(self, error: Tensor) -> Correction:
        """Return the correction for an error, shape ``(blocks, samples, outputs of a block)``."""
        shift = error.mean(1) if self._intercept else torch.zeros_like(error[:, 0])
        # Inputs are about their mean but for rounding, and that times a mean error is no correlation.
        cross = (self._centered.transpose(1, 2) @ (error - shift.unsqueeze(1))).double() / error.shape[1]
        weight = torch.cholesky_solve(cross, self._factor).transpose(1, 2).to(error.dtype)
        return Correction(weight, shift - (weight @ self._mean.transpose(1, 2)).squeeze(2))
