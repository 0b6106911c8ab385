"""What was fitted to a record: small networks that say what a strategy scores, in NumPy."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from envs.costs.cost_table import Places, padded
from envs.engine.types import Evaluation
from envs.landscapes.description import Description

Array = NDArray[np.float64]
LEAST_RATIO = 1e-3
SMALL_ERROR = 1e-3
SMALL = 1e-6
"""Keeps logarithms of divergences and of accuracies finite."""


class Surrogate(NamedTuple):
    """An ensemble: the mean of small networks with two hidden layers, each beside a linear model.

    Attributes:
        first: weights of the first layer, ``(members, features, hidden)``.
        first_bias: ``(members, hidden)``.
        second: ``(members, hidden, hidden)``.
        second_bias: ``(members, hidden)``.
        last: ``(members, hidden, outputs)``.
        linear: of the linear models, ``(members, features, outputs)``.
        last_bias: ``(members, outputs)``.
        offset: of the outputs, ``(outputs,)``; outputs are those of ``targets_of``.
        scale: of the outputs, ``(outputs,)``.
        noise: standard deviation of real evaluations around the fitted ones, in units of the outputs, ``(outputs,)``.
    """

    first: Array
    first_bias: Array
    second: Array
    second_bias: Array
    last: Array
    linear: Array
    last_bias: Array
    offset: Array
    scale: Array
    noise: Array

    def outputs(self, features: Array) -> Array:
        """Return the outputs for features ``(n, features)``, shape ``(n, outputs)``."""
        hidden = np.tanh(features @ self.first + self.first_bias[:, None])
        hidden = np.tanh(hidden @ self.second + self.second_bias[:, None])
        answers = hidden @ self.last + features @ self.linear + self.last_bias[:, None]
        means: Array = answers.mean(0) * self.scale + self.offset
        return means


def read_surrogate(tensors: Mapping[str, NDArray[np.float32]]) -> Surrogate:
    """Return the surrogate in the tensors of a file."""
    return Surrogate(**{name: tensors[name].astype(np.float64) for name in Surrogate._fields})


class FeatureTable:
    """Looks up what a surrogate sees of a strategy.

    That is for every layer the logarithm of its keep ratio, and that of its reconstruction error where it is known.

    Args:
        description: of the network.
    """

    def __init__(self, description: Description) -> None:
        ratios = padded([[count / layer.units for count in layer.choices] for layer in description.layers])
        seen = [np.log(np.maximum(ratios, LEAST_RATIO))]
        if description.errors is not None:
            rows = zip(description.errors, description.layers, strict=True)
            errors = padded([row[-len(layer.choices) :] for row, layer in rows])
            whole = np.log(SMALL_ERROR)
            seen.append((np.log(SMALL_ERROR + np.maximum(errors, 0)) - whole) / -whole)
        self._table = np.stack(seen, axis=-1)
        self._steps = np.arange(len(description.layers))

    def __call__(self, places: Places) -> Array:
        """Return the features of strategies ``(n, layers)``, shape ``(n, features)``."""
        return self._table[self._steps, places].reshape(len(places), -1)


def targets_of(metric: Array, loss: Array, divergence: Array) -> Array:
    """Return what surrogates are fitted to: log odds of being right, logarithms of loss and divergence, ``(n, 3)``."""
    right = np.clip(metric, SMALL, 1 - SMALL)
    return np.stack([np.log(right / (1 - right)), np.log(loss + SMALL), np.log(divergence + SMALL)], axis=-1)


def evaluation_of(outputs: Array, count: int) -> Evaluation:
    """Return the evaluation of one strategy's outputs, ``(3,)``, on a split of so many images."""
    odds, loss, divergence = np.exp(outputs).tolist()
    return Evaluation(odds / (1 + odds), loss, count, divergence)
