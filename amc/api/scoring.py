"""What ``amc.prune`` scores candidates by: a caller's validation batches, with or without labels, or a function."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn

from amc.api.batches import join
from envs.engine.errors import first_line
from envs.engine.network.batches import count_samples
from envs.engine.network.calls import Inputs, described, main_output
from envs.engine.scoring.top1 import Score, Top1Scorer, metric_scorer
from envs.engine.types import Evaluation

UserScore = Callable[[nn.Module], float | Evaluation]
Output = Callable[[Any], Any]
"""Picks, from what a network returns, the tensor that accuracy and loss go by."""

ACCURACY, AGREEMENT, OF_USER = "accuracy", "agreement", "score"
"""What a metric is called: accuracy, or where there are no labels agreement with the dense network, or the caller's."""


def make_scorer(
    validation: Iterable[Any] | None,
    score: UserScore | str | None,
    reward: str,
    device: torch.device,
    like: Inputs | None = None,
    output: Output | None = None,
) -> tuple[Score, str]:
    """Return a scorer and the name of its metric; in one whose metric is agreement labels stand for nothing.

    Args:
        validation: batches to score on.
        score: a function to score by instead, or ``"agreement"`` with the dense network, for which labels do not count.
        reward: a key of ``envs.rewards.REWARDS``; by divergence labels do not count, either.
        device: that networks run on.
        like: the example input.
        output: picks the class scores from what networks return.

    Raises:
        ValueError: both or none are given, batches are not what they should be, or there are no labels to score by.
    """
    if isinstance(score, str) and score != AGREEMENT:
        raise ValueError(f"score={score!r}: must be a function of a network, or {AGREEMENT!r}")
    if (validation is None) == (score is None or isinstance(score, str)):
        raise ValueError("give either validation batches or a score function")
    if callable(score):
        return metric_scorer(score), OF_USER
    inputs, labels = join("validation", validation, device, like)
    by_labels = labels is not None and score is None
    if labels is None and score is None and reward != "divergence":
        raise ValueError(
            "validation has no class numbers: score='agreement' takes those that the network given says, "
            "reward='divergence' compares all its outputs"
        )
    if not by_labels:
        labels = torch.zeros(count_samples(inputs), dtype=torch.int64, device=device)
    assert labels is not None  # noqa: S101  those that stand for nothing are there
    return Top1Scorer(inputs, labels, output=output or main_output), ACCURACY if by_labels else AGREEMENT


def saying_what_it_got(output: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return a function that picks an output and, where it fails, says of what."""

    def pick(outputs: Any) -> Any:  # noqa: ANN401  whatever a network returns
        try:
            return output(outputs)
        except Exception as error:  # whatever the user's function raises
            what = f"{type(error).__name__}: {first_line(error)}"
            raise ValueError(f"output fails on {described(outputs)} ({what})") from error

    return pick
