"""The Lasso path of a regression that is given by its Gram matrix."""

import warnings
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, from_numpy

RIDGE = 1e-9
"""Relative to the mean of the Gram matrix's diagonal: copies of a channel stay regular."""

FloatArray = NDArray[np.float64]


class LassoPath(NamedTuple):
    """The corners of the piecewise linear path of minimisers of 1/2 b'Qb - q'b + penalty |b|_1.

    Attributes:
        penalties: descending, shape ``(corners,)``.
        coefficients: shape ``(features, corners)``.
    """

    penalties: FloatArray
    coefficients: FloatArray


def lasso_path(gram: FloatArray, target: FloatArray) -> LassoPath:
    """Follow the Lasso from the penalty that keeps nothing down to none, by least angle regression.

    Args:
        gram: Q, the features' mean products, ``(features, features)``.
        target: q, their mean products with what is to be explained, ``(features,)``.

    References:
        Efron et al., 2004, "Least Angle Regression".
    """
    # Loading scikit-learn takes a second, which only this criterion is worth.
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import lars_path_gram

    ridge = RIDGE * gram.trace() / len(gram)
    with warnings.catch_warnings():
        # It stops early where features explain nothing more; they are the ones that go first.
        warnings.simplefilter("ignore", ConvergenceWarning)
        penalties, _, coefficients = lars_path_gram(
            Xy=target, Gram=gram + ridge * np.eye(len(gram)), n_samples=1, method="lasso", alpha_min=0.0
        )
    return LassoPath(penalties, coefficients)


def entry_penalties(gram: Tensor) -> Tensor:
    """Return for every unit the penalty at which it enters the path that explains the sum of all units.

    Args:
        gram: the units' mean products, float64, shape ``(units, units)``.

    Returns:
        float64, shape ``(units,)``; 0 for units that never enter.
    """
    matrix = gram.numpy()
    path = lasso_path(matrix, matrix.sum(1))
    entered = path.coefficients != 0
    # A unit enters at the corner before the first at which its coefficient is not zero.
    before = np.maximum(entered.argmax(1) - 1, 0)
    return from_numpy(np.where(entered.any(1), path.penalties[before], 0.0))
