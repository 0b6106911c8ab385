"""Racing: a candidate is scored in growing slices, until it is clear that it is behind the best, or how far."""

from collections.abc import Sequence
from itertools import pairwise
from statistics import NormalDist
from typing import NamedTuple

import torch
from torch import Tensor, nn

from envs.engine.scoring.stratified_sampling import allocate, strata_by_margin
from envs.engine.scoring.top1 import Top1Scorer
from envs.engine.types import Evaluation

FIRST_SLICE = 250
GROWTH = 1.4
# An estimate is good enough when it adds a twentieth to the standard error that the split has anyway.
OF_SPLITS_ERROR = 1 / 3


class Difference(NamedTuple):
    """Accuracy of a candidate less that of the best so far, estimated from some of the images.

    Attributes:
        mean: the estimate.
        error: its standard error.
    """

    mean: float
    error: float


class RacingScorer:
    """Scores every candidate against the best so far, on the same images, and stops when enough is known.

    After 250, 350, 490, ... images the difference in accuracy to the best so far is estimated. A candidate is dropped

    - if, at the stated confidence, the whole split would put it behind the best; or
    - if it seems to be behind, and the estimate is so exact that more images would hardly change it: its error is a
      third of the error that accuracy on the whole split has as a measure of accuracy.

    Its accuracy is then the best one's plus the difference. Others are scored on the whole split; a candidate that is
    ahead by less than the error of such an estimate may be missed, one that is ahead by far is not.

    Candidates disagree on few images, and mostly on those on which the dense network is not sure. So images are taken
    in groups by the dense network's margin, more from the groups in which networks disagree (stratified sampling).

    A score therefore depends on what was scored before. Repeated in the same order, scores repeat.

    References:
        Maron and Moore, 1994, "Hoeffding Races"; Birattari et al., 2002, "A Racing Algorithm for Configuring
        Metaheuristics". The confidence is shared among the looks (Bonferroni).
    """

    def __init__(
        self, scorer: Top1Scorer, dense: nn.Module, confidence: float = 0.99, first: int = FIRST_SLICE
    ) -> None:
        """Look at the split, whose images must be in random order, with the dense network.

        Args:
            scorer: the split.
            dense: the network that candidates are made from, in eval mode.
            confidence: with which a candidate that is better than the best so far survives the first rule at all looks.
            first: images of the first slice.

        Raises:
            ValueError: a value is out of range.
        """
        if not 0.5 < confidence < 1 or first < 1:
            raise ValueError(f"confidence={confidence}, first={first}: needs 0.5 < confidence < 1 and first >= 1")
        self._scorer = scorer
        answers = scorer.answers(dense)
        self._strata, self._dense = strata_by_margin(answers.margin), answers.correct
        self._looks = _looks(max(first, len(self._strata.sizes)), len(scorer))
        self._z = NormalDist().inv_cdf(1 - (1 - confidence) / max(1, len(self._looks)))
        self._best: Tensor | None = None

    def __call__(self, model: nn.Module) -> Evaluation:
        """Score a network in eval mode."""
        total, sizes = len(self._scorer), self._strata.sizes
        ready = self._scorer.ready(model)
        correct, loss = torch.empty(total, dtype=torch.bool), torch.empty(total, dtype=torch.float64)
        for before, taken in pairwise([[0] * len(sizes), *self._slices(), sizes]):
            images = self._strata.between(before, taken)
            correct[images], loss[images], *_ = self._scorer.answers(ready, images)
            if self._best is not None and sum(taken) < total:
                difference = self._difference(correct, self._best, taken)
                if self._is_enough(difference, self._best):
                    metric = float(self._best.double().mean()) + difference.mean
                    mean_loss = float(self._strata.shares @ self._strata.means(loss, taken))
                    return Evaluation(min(1.0, max(0.0, metric)), mean_loss, sum(taken))
        if self._best is None or correct.sum() > self._best.sum():
            self._best = correct
        return Evaluation(int(correct.sum()) / total, float(loss.sum()) / total, total)

    def _slices(self) -> list[list[int]]:
        """Images of every group at every look; the first candidate, which nothing is compared with, has none."""
        if self._best is None:
            return []
        sizes, slices = self._strata.sizes, [[1] * len(self._strata.sizes)]
        deviations = self._usual(self._best).sqrt().tolist()
        for look in self._looks:
            slices.append([max(pair) for pair in zip(slices[-1], allocate(look, sizes, deviations), strict=True)])
        return slices[1:]

    def _usual(self, best: Tensor) -> Tensor:
        """Share of the images of every group on which networks disagree: as the best so far does with the dense one.

        One disagreement more than seen keeps equal answers from looking like certainty.
        """
        sizes = torch.tensor(self._strata.sizes, dtype=torch.float64)
        return (self._strata.means(self._dense != best, self._strata.sizes) * sizes + 1) / (sizes + 1)

    def _difference(self, correct: Tensor, best: Tensor, taken: Sequence[int]) -> Difference:
        strata = self._strata
        means = strata.means(correct.double() - best.double(), taken)
        disagreeing = torch.maximum(strata.means(correct != best, taken), self._usual(best))
        sizes, counts = (torch.tensor(numbers, dtype=torch.float64) for numbers in (strata.sizes, taken))
        variances = (disagreeing - means**2) / counts * (1 - counts / sizes)
        return Difference(float(strata.shares @ means), float((strata.shares**2 @ variances).sqrt()))

    def _is_enough(self, difference: Difference, best: Tensor) -> bool:
        accuracy = float(best.double().mean())
        good_enough = OF_SPLITS_ERROR * (accuracy * (1 - accuracy) / len(best)) ** 0.5
        surely_behind = difference.mean + self._z * difference.error < 0
        return surely_behind or (difference.mean < 0 and difference.error <= good_enough)


def _looks(first: int, total: int) -> list[int]:
    looks = []
    size = float(first)
    while size < total:
        looks.append(round(size))
        size *= GROWTH
    return looks
