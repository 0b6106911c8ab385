"""Coreset: some images of a split, chosen and weighted once, that tell what the whole split would say of a network.

Networks pruned from one another answer most images alike, and what all answer alike tells them not apart. So a few
pilot networks are run on the whole split beforehand, and images are taken the more of, the more pilots disagree there.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from envs.engine.scoring.answers import Answers
from envs.engine.scoring.sampling_design import TINY, VALUES, Design, make_design, values_of
from envs.engine.scoring.top1 import Top1Scorer
from envs.engine.types import Evaluation

OF_SPREAD = 0.1
LEAST_OF_OWN = 0.1
NORMAL_QUARTILES = 1.349
"""Between the quartiles of a normal distribution, in standard deviations."""


@dataclass(frozen=True)
class Coreset:
    """The images that candidates are scored on, and what their answers count for.

    A mean over the whole split is estimated by the pilots' mean over it, which is known, plus the weighted sum of
    what a candidate's answers differ from the pilots' mean: the dense network and the pilots are control variates.

    Attributes:
        images: numbers of the images, ascending.
        weights: of each image, their sum is 1 up to what the draw makes of it.
        offsets: what is added to the weighted sums of correct answers, loss and divergence.
        error: standard error of an estimate, as promised by the pilots.
        total: images of the whole split.
    """

    images: Tensor
    weights: Tensor
    offsets: tuple[float, float, float]
    error: float
    total: int


def draw(design: Design, pilots: Sequence[Answers], taken: Sequence[int], seed: int) -> Coreset:
    """Draw images from every group without replacement, and weigh them by how many each stands for.

    Every image has a random number of its own, so that another size or another order of a few images changes few.

    Args:
        design: the groups.
        pilots: that it was made of.
        taken: images of every group.
        seed: of the random numbers.
    """
    total = sum(design.strata.sizes)
    lots = torch.rand(total, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    weights = torch.zeros(total, dtype=torch.float64)
    for members, count in zip(design.strata.members, taken, strict=True):
        weights[members[lots[members].argsort()[:count]]] = len(members) / (count * total)
    images = weights.nonzero().flatten()
    known = torch.stack([torch.stack([values_of(answers, value) for value in VALUES]) for answers in pilots]).mean(0)
    offsets = (known.mean(1) - known[:, images] @ weights[images]).tolist()
    return Coreset(images, weights[images], tuple(offsets), design.error(taken), total)


def choose_coreset(pilots: Sequence[Answers], error: float, seed: int, value: str = "metric") -> Coreset:
    """Choose the fewest images that promise a standard error.

    Args:
        pilots: answers of the dense network first, then of at least two pruned ones, on the whole split.
        error: standard error of an estimate of the whole split's mean, in its unit.
        seed: of the draw.
        value: which mean.

    Raises:
        ValueError: the error is not above 0, or there are too few pilots.
    """
    if not error > 0 or len(pilots) < 3:
        raise ValueError(f"error={error}, {len(pilots)} networks: needs an error above 0, and two pilots at least")
    design = make_design(pilots, value)
    return draw(design, pilots, design.shares(error), seed)


def default_error(pilots: Sequence[Answers], value: str = "metric") -> float:
    """Return the standard error that hides little of what pruned networks differ by.

    With ``OF_SPREAD`` of their standard deviation, estimates rank networks that differ as the pilots do about as the
    whole split does: the correlation is ``(1 + OF_SPREAD ** 2) ** -0.5``. It is not worth knowing more of the split
    than it knows itself. The deviation is what quartiles tell, if that is less: one pilot far behind the others would
    say that little has to be known to tell the others apart.

    Args:
        pilots: answers of the dense network first, then of at least two pruned ones, on the whole split.
        value: which mean.
    """
    values = torch.stack([values_of(answers, value) for answers in pilots[1:]])
    own = float(values.var(1).mean() / values.shape[1]) ** 0.5
    means = values.mean(1)
    low, high = means.quantile(torch.tensor([0.25, 0.75], dtype=means.dtype)).tolist()
    spread = min(float(means.std()), (high - low) / NORMAL_QUARTILES)
    return max(OF_SPREAD * spread, LEAST_OF_OWN * own, TINY)


class CoresetScorer:
    """Scores every network on the same images of a split, so that a score is a pure function of the network.

    Attributes:
        coreset: the images.
    """

    is_pure: ClassVar[bool] = True
    """As the whole split's."""

    def __init__(self, scorer: Top1Scorer, coreset: Coreset) -> None:
        """Take the images out of the split.

        Args:
            scorer: of the split.
            coreset: what was chosen of it.
        """
        self.coreset = coreset
        self._part = scorer.part(coreset.images)

    def __call__(self, model: nn.Module) -> Evaluation:
        """Estimate what a network in eval mode scores on the whole split."""
        answers, coreset = self._part.answers(self._part.ready(model)), self.coreset
        sums = [float(values_of(answers, value) @ coreset.weights) for value in VALUES]
        metric, loss, divergence = (a + b for a, b in zip(sums, coreset.offsets, strict=True))
        return Evaluation(min(1.0, max(0.0, metric)), loss, len(coreset.images), divergence)
