"""Global magnitude pruning: one threshold on the scores of all units of the network."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

from envs.constraint import ResourceBudget, fill
from envs.engine.fields import OneOf, check_settings, setting
from envs.engine.types import KnowsUnitScores, Strategy
from envs.search import RecordTrials, play_strategy

Scale = Callable[[Sequence[float]], float]

NORMALIZE: dict[str, Scale] = {
    "l2": lambda scores: math.hypot(*scores),
    "mean": lambda scores: math.fsum(map(abs, scores)) / len(scores),
    "none": lambda scores: 1.0,  # noqa: ARG005  raw scores, whatever they are
}
"""What the scores of a layer are divided by."""


@dataclass(frozen=True)
class GlobalThreshold:
    """Plays one episode: every layer keeps the units whose score is above a threshold that all layers share.

    The threshold is the smallest whose network is within the target, by bisection over the cost model, after
    rounding: it takes no evaluation to find. It needs an engine that knows the scores of its units.

    Attributes:
        normalize: a key of ``NORMALIZE``, since scores of different layers do not compare as they are: ``mean`` of
            the layer's scores, their ``l2`` norm as Molchanov et al. do, or ``none``. The norm grows with the root
            of a layer's width, so wide layers lose most.

    Raises:
        ValueError: there is no such normalization.

    References:
        Han et al., 2015, "Learning both Weights and Connections for Efficient Neural Networks", arXiv 1506.02626.
        Molchanov et al., 2017, "Pruning Convolutional Neural Networks for Resource Efficient Inference",
        arXiv 1611.06440, section 2.2.
    """

    needs: ClassVar[Mapping[str, object]] = {"granularity": "channel"}

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
        scores = sorted(_comparable(engine.unit_scores(step), normalize), reverse=True)
        allowed = layer.choices[-len(ratios) :]
        # Rounding is to the nearest choice, so a layer grows once units up to halfway are above the threshold.
        halfway = [math.ceil((fewer + more) / 2) for fewer, more in pairwise(allowed)]
        growth += [(-scores[count - 1], step) for count in halfway]
    return fill(budget, [step for _, step in sorted(growth)])


def _comparable(scores: Sequence[float], normalize: str) -> list[float]:
    scale = NORMALIZE[normalize](scores)
    # All scores of a layer may be 0, such as those of a layer that was never trained.
    return [score / scale if scale else score for score in scores]
