"""Global magnitude pruning: one threshold on the scores of all units of the network."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from envs.constraint import ResourceBudget, fill
from envs.engine.fields import OneOf, check_settings, setting
from envs.engine.types import KnowsUnitScores, Strategy
from envs.search import RecordTrials, play_strategy

Scores = NDArray[np.float64]
"""Of the units of a layer, from the best on."""


def layer_adaptive(scores: Scores) -> Scores:
    """Return the square of each score over the sum of the squares of all that are not below it.

    References:
        Lee et al., 2021, "Layer-Adaptive Sparsity for the Magnitude-Based Pruning", arXiv 2010.07611, equation 3.
    """
    squares = scores.clip(min=0) ** 2
    return divided(squares, squares.cumsum())


def divided(scores: Scores, by: Scores | np.floating[Any]) -> Scores:
    """Return a quotient; all scores of a layer may be 0, such as those of a layer that was never trained."""
    return np.divide(scores, by, out=scores.copy(), where=np.asarray(by) != 0)


NORMALIZE: dict[str, Callable[[Scores], Scores]] = {
    "l2": lambda scores: divided(scores, np.linalg.norm(scores)),
    "lamp": layer_adaptive,
    "mean": lambda scores: divided(scores, np.abs(scores).mean()),
    "none": lambda scores: scores,
}
"""What makes the scores of different layers comparable; each keeps the order of a layer's units."""


@dataclass(frozen=True)
class GlobalThreshold:
    """Plays one episode: every layer keeps the units whose score is above a threshold that all layers share.

    Units are channels, or single weights, vectors and kernels: then it is what is known as global magnitude pruning. Of
    N of M weights every group keeps as many, and it is the best, second best, ... of all groups that are compared.

    The threshold is the smallest whose network is within the target, by bisection over the cost model, after
    rounding: it takes no evaluation to find. It needs an engine that knows the scores of its units.

    Attributes:
        normalize: a key of ``NORMALIZE``, since scores of different layers do not compare as they are: by the ``mean``
            of the layer's scores, by their ``l2`` norm as Molchanov et al. do, which grows with the root of a layer's
            width, so that wide layers lose most, ``lamp`` as Lee et al. do, or ``none``, as Han et al. do.

    Raises:
        ValueError: there is no such normalization.

    References:
        Han et al., 2015, "Learning both Weights and Connections for Efficient Neural Networks", arXiv 1506.02626.
        Molchanov et al., 2017, "Pruning Convolutional Neural Networks for Resource Efficient Inference",
        arXiv 1611.06440, section 2.2.
        Lee et al., 2021, "Layer-Adaptive Sparsity for the Magnitude-Based Pruning", arXiv 2010.07611.
    """

    needs: ClassVar[Mapping[str, object]] = {"granularity": ("channel", "element", "vector", "kernel", "n_m")}

    normalize: str = setting("mean", OneOf(tuple(NORMALIZE)))

    def __post_init__(self) -> None:
        check_settings(self)

    def search(self, env: RecordTrials) -> None:
        """Play the one episode.

        Raises:
            ValueError: the engine does not know the scores of its units.
        """
        play_strategy(env, global_threshold(env.problem.budget, self.normalize))


def global_threshold(budget: ResourceBudget, normalize: str = "mean") -> Strategy:
    """Return the strategy of the smallest threshold whose network is within the limit.

    Args:
        budget: the limit to meet.
        normalize: a key of ``NORMALIZE``.

    Raises:
        ValueError: the engine does not know the scores of its units.
    """
    engine = budget.engine
    if not isinstance(engine, KnowsUnitScores):
        raise ValueError(f"policy=global_threshold needs the scores of units: {type(engine).__name__} has none")
    growth = []
    for step, (layer, ratios) in enumerate(zip(engine.layers, budget.ratios, strict=True)):
        best_first = -np.sort(-np.asarray(engine.unit_scores(step), np.float64))
        scores = NORMALIZE[normalize](best_first).tolist()
        allowed = layer.choices[-len(ratios) :]
        # Rounding is to the nearest choice, so a layer grows once units up to halfway are above the threshold.
        halfway = [math.ceil((fewer + more) / 2) for fewer, more in pairwise(allowed)]
        growth += [(-scores[count - 1], step) for count in halfway]
    return fill(budget, [step for _, step in sorted(growth)])
