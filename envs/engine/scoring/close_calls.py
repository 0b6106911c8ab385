"""Close calls: images whose class bfloat16 is too coarse to tell are asked about once more, in float32.

Rounding changes the class of images alone on which two classes score nearly alike. Which those are the margins tell,
and how much they change is seen on the closest of them. A few images in a hundred make accuracy what it is in float32.
"""

from collections.abc import Callable
from math import ceil

import torch
from torch import Tensor

from envs.engine.scoring.answers import Answers

CLOSEST, AT_LEAST = 0.01, 10
"""Share of the images, and number, on which it is seen how much margins change."""
LEFT = 0.0004
"""Expected share of images whose class would be another in float32, once close calls are settled.

About half of them are counted otherwise, as often right as wrong: 12 candidates in each of three cells came to within
0.08 points of accuracy in float32, where up to 0.42 was lost before (benchmarks/README.md).
"""


def settle(answers: Answers, exact: Callable[[Tensor], Answers]) -> Answers:
    """Return answers in which close calls are decided in float32.

    The change that a margin may make is taken as normal, as large for all images as for the closest.

    Args:
        answers: in reduced precision.
        exact: returns the answers in float32 to images, by number.
    """
    order = answers.margin.argsort(stable=True)
    first = order[: max(AT_LEAST, ceil(CLOSEST * len(order)))]
    settled = _replaced(answers, first, exact(first))
    changed = settled.correct[first] != answers.correct[first]
    before = torch.where(changed, -answers.margin[first], answers.margin[first])
    spread = float((settled.margin[first] - before).double().square().mean().sqrt())
    if spread == 0:
        return settled
    chances = torch.special.ndtr(-answers.margin[order].double() / spread)
    left = chances.flip(0).cumsum(0).flip(0)  # from each on
    close = order[len(first) : int((left > LEFT * len(order)).sum())]
    return _replaced(settled, close, exact(close)) if len(close) else settled


def _replaced(answers: Answers, images: Tensor, others: Answers) -> Answers:
    return Answers(*(whole.index_copy(0, images, part) for whole, part in zip(answers, others, strict=True)))
