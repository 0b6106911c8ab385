"""One scored strategy, and which of two is better."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from envs.engine.types import Cost, Evaluation, Strategy


@dataclass(frozen=True)
class Trial:
    """One scored strategy.

    Attributes:
        index: 0 for the first trial of the search.
        strategy: executed keep ratio of every layer.
        reward: what the search maximises.
        evaluation: how good the pruned network is.
        cost: what the pruned network takes.
        feasible: whether the cost is within the target.
        seconds: wall time since the previous trial ended, the policy's part included.
        engine_seconds: part of ``seconds`` that scoring took.
    """

    index: int
    strategy: Strategy
    reward: float
    evaluation: Evaluation
    cost: Cost
    feasible: bool
    seconds: float
    engine_seconds: float


Sink = Callable[[Trial], None]
"""Takes each trial as it ends: a file, a tracker, a progress bar."""


def quality(trial: Trial) -> tuple[float, float]:
    """Return the key to sort trials by, best last: reward, then loss where rewards tie."""
    loss = trial.evaluation.loss
    return trial.reward, -math.inf if math.isnan(loss) else -loss


def better(trial: Trial, best: Trial | None) -> Trial | None:
    """Return the best of a search that comes to one more trial: that one, if it is feasible and of higher quality."""
    return trial if trial.feasible and (best is None or quality(trial) > quality(best)) else best


def best_trial(trials: Iterable[Trial]) -> Trial:
    """Return the feasible trial of highest reward; among equals the lowest loss, then the earliest.

    Raises:
        ValueError: there is no feasible trial.
    """
    best, count = None, 0
    for trial in trials:
        best, count = better(trial, best), count + 1
    if best is None:
        raise ValueError(f"none of the {count} trials is within the target")
    return best
