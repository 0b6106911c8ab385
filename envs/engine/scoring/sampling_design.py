"""How images are to be drawn so that a few of them tell what networks pruned from one another differ by.

References:
    Cochran, 1977, "Sampling Techniques", 3rd edition, chapters 5 and 5A.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from envs.engine.scoring.answers import Answers
from envs.engine.scoring.stratified_sampling import Strata, allocate, split_at

VALUES = ("metric", "loss", "divergence")
"""What images can be chosen for: the mean of accuracy, loss or divergence."""

GROUPS = 12
"""Groups of images; more of them gain little (Cochran, 1977, section 5A.8)."""
BINS = 100
"""Of images in order, whose differences are averaged before groups are cut."""
SMALLEST_GROUP = 8
TINY = 1e-12
PRIOR = 4.0
"""How many networks' worth the spread over all images counts for in the spread of one."""


class Design(NamedTuple):
    """How images are drawn.

    Attributes:
        strata: all images in groups, those on which networks differ most first.
        deviations: of every group the standard deviation of what a new network's answers differ by from the
            pilots' mean.
    """

    strata: Strata
    deviations: tuple[float, ...]

    def error(self, taken: Sequence[int]) -> float:
        """Return the standard error of a mean over all images that ``taken`` images of every group give.

        References:
            Cochran, 1977, "Sampling Techniques", 3rd edition, equation 5.6.
        """
        total = sum(self.strata.sizes)
        groups = zip(taken, self.strata.sizes, self.deviations, strict=True)
        return sum((size * s) ** 2 / count * (1 - count / size) for count, size, s in groups) ** 0.5 / total

    def shares(self, error: float) -> list[int]:
        """Return how many images of every group bring the standard error down to ``error``: as few as can be."""
        few, many = len(self.strata.sizes), sum(self.strata.sizes)
        while few < many:
            middle = (few + many) // 2
            if self.error(self._allocated(middle)) <= error:
                many = middle
            else:
                few = middle + 1
        return self._allocated(many)

    def _allocated(self, total: int) -> list[int]:
        return allocate(total, self.strata.sizes, self.deviations)


def make_design(pilots: Sequence[Answers], value: str) -> Design:
    """Group the images of a split by how much networks differ there.

    What a group's answers differ by is measured on each pilot by an order of images that was made without it: the
    images on which a network was seen to differ are no fair sample of those on which the next one will.

    Args:
        pilots: answers of the dense network first, then of at least two pruned ones, on the whole split.
        value: what means are wanted of, one of ``VALUES``.
    """
    values = torch.stack([values_of(answers, value) for answers in pilots])
    telling = torch.stack([_telling(answers, value) for answers in pilots])
    rows = []
    for left_out in range(1, len(pilots)):
        others = [row for row in range(len(pilots)) if row != left_out]
        order = _most_differing_first(telling[others], value)
        rows.append((values[left_out] - values[others].mean(0))[order])
    residuals = torch.stack(rows)
    cuts = _cuts(residuals.square().mean(0))
    outlier = 1.0 if value == "metric" else max(float(residuals.abs().max()), TINY)
    deviations = tuple(_deviation(part, outlier) for part in residuals.tensor_split(cuts, dim=1))
    return Design(split_at(_most_differing_first(telling, value), cuts), deviations)


def values_of(answers: Answers, value: str) -> Tensor:
    """Return what the mean of is wanted, float64, shape ``(n,)``."""
    return answers.correct.double() if value == "metric" else getattr(answers, value).double()


def _telling(answers: Answers, value: str) -> Tensor:
    """Return what networks are compared by: the loss or divergence itself, or how surely an answer is right or wrong.

    The margin of an answer says more than whether it is right: it tells how near to a change it is.
    """
    if value == "metric":
        return torch.where(answers.correct, answers.margin, -answers.margin).double()
    return values_of(answers, value)


def _most_differing_first(telling: Tensor, value: str) -> Tensor:
    """Return the numbers of the images in the order of how much networks are expected to differ.

    Args:
        telling: of every network and image, shape ``(networks, n)``.
        value: what it tells of.
    """
    spread = telling.var(0)
    if value != "metric":
        return spread.argsort(descending=True, stable=True)
    # A new network's margin varies as those of the pilots do; the nearer its mean is to 0, the surer it changes sign.
    shrunk = (spread * (len(telling) - 1) + PRIOR * spread.mean()) / (len(telling) - 1 + PRIOR)
    return (telling.mean(0).abs() / shrunk.sqrt().clamp_min(TINY)).argsort(stable=True)


def _cuts(squares: Tensor) -> list[int]:
    """Return where to cut images into groups, by the squares of what networks differ by.

    References:
        Dalenius and Hodges, 1959, "Minimum Variance Stratification": equal sums of square roots, counted in bins.
    """
    groups = max(1, min(GROUPS, len(squares) // SMALLEST_GROUP))
    bins = squares.tensor_split(min(BINS, len(squares) // SMALLEST_GROUP) or 1)
    ends = torch.tensor([len(each) for each in bins]).cumsum(0)
    risen = torch.stack([each.mean().sqrt() * len(each) for each in bins]).cumsum(0)
    wanted = torch.linspace(0, 1, groups + 1, dtype=torch.float64)[1:-1] * risen[-1]
    cuts = ends[torch.searchsorted(risen, wanted).clamp_max(len(bins) - 2)] if len(bins) > 1 else ends[:0]
    return sorted(set(cuts.tolist()))


def _deviation(residuals: Tensor, outlier: float) -> float:
    """Return a group's standard deviation, the mean over the pilots; one more outlier than seen guards against 0."""
    squares = (residuals - residuals.mean(1, keepdim=True)).square()
    return float(((squares.sum() + outlier**2) / (squares.numel() - len(squares) + 1)) ** 0.5)
