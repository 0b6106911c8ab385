"""How a network takes the pruning of one layer at a time, read from the trials that did so."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from envs.engine.types import Evaluation, Strategy
from envs.search import Trial


class SensitivityPoint(NamedTuple):
    """What is left of a network of which one layer keeps ``keep``."""

    keep: float
    evaluation: Evaluation


class SensitivityCurve(NamedTuple):
    """The points of a layer, the most pruned first; the dense network is the last, at ``keep`` 1, if it was scored."""

    layer: str
    points: tuple[SensitivityPoint, ...]


def pruned_layers(strategy: Strategy) -> list[int]:
    """Return the numbers of the layers that lose anything."""
    return [step for step, keep in enumerate(strategy) if keep < 1]


def sensitivity_curves(trials: Iterable[Trial], layers: Sequence[str]) -> tuple[SensitivityCurve, ...]:
    """Return the curve of every layer, in forward order.

    Every trial that pruned one layer and no other is a point, whatever policy asked for it; of trials of the same
    strategy the first counts.

    Args:
        trials: of one problem.
        layers: names of the layers, in forward order.

    References:
        Li et al., 2016, "Pruning Filters for Efficient ConvNets", arXiv 1608.08710, section 3.2.
    """
    found: list[dict[float, Evaluation]] = [{} for _ in layers]
    for trial in trials:
        pruned = pruned_layers(trial.strategy)
        if len(pruned) <= 1:
            for step in pruned or range(len(layers)):
                found[step].setdefault(trial.strategy[step], trial.evaluation)
    points = [tuple(SensitivityPoint(*point) for point in sorted(layer.items())) for layer in found]
    return tuple(map(SensitivityCurve, layers, points))
