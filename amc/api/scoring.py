"""What ``amc.prune`` scores candidates by: a caller's validation batches, with or without labels, or a function."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import nn

from amc.api.batches import Batches, as_example, join
from envs.engine.network.batches import count_samples
from envs.engine.scoring.top1 import Score, Top1Scorer, metric_scorer
from envs.engine.types import Evaluation

UserScore = Callable[[nn.Module], float | Evaluation]

ACCURACY, AGREEMENT, OF_USER = "accuracy", "agreement", "score"
"""What a metric is called: accuracy, or where there are no labels agreement with the dense network, or the caller's."""


def make_scorer(
    validation: Iterable[Any] | None, score: UserScore | None, reward: str, device: torch.device
) -> tuple[Score, str]:
    """Return a scorer and the name of its metric; in one whose metric is agreement labels stand for nothing.

    Args:
        validation: batches to score on; without labels only where the reward does without.
        score: a function to score by instead.
        reward: a key of ``envs.rewards.REWARDS``.
        device: that networks run on.

    Raises:
        ValueError: both or none are given, or batches are not what they should be.
    """
    if (validation is None) == (score is None):
        raise ValueError("give either validation batches or a score function")
    if score is not None:
        return metric_scorer(score), OF_USER
    if reward != "divergence" or not isinstance(validation, Iterable):
        return Top1Scorer(*join("validation", validation or (), device)), ACCURACY
    batches = list(validation)
    labelled = not batches or as_example("validation", 0, batches[0])[1] is not None
    return Top1Scorer(*join("validation", batches if labelled else _filled(batches), device)), (
        ACCURACY if labelled else AGREEMENT
    )


def _filled(batches: Sequence[Any]) -> Batches:
    """Return batches without labels as pairs; class 0 stands where a label would.

    Raises:
        ValueError: a batch has labels, or is none.
    """
    for number, batch in enumerate(batches):
        inputs, targets = as_example("validation", number, batch)
        if targets is not None:
            raise ValueError(f"validation: batch {number} has class numbers, batch 0 has none: give all or none")
        yield inputs, torch.zeros(count_samples(inputs), dtype=torch.int64)
