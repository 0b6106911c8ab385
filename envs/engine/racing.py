"""Racing: a candidate is scored in growing slices and dropped once it can hardly be the best any more."""

from itertools import pairwise
from statistics import NormalDist

import torch
from torch import Tensor, nn

from envs.engine.scoring import Top1Scorer
from envs.engine.types import Evaluation

FIRST_SLICE = 250


class RacingScorer:
    """Scores every candidate against the best so far, on the same images, and stops when the outcome is clear.

    After 250, 500, 1,000, ... images the mean difference to the best so far is tested. If, at the stated confidence,
    the whole split would still put the candidate behind, it is dropped, and its accuracy is estimated as that of the
    best plus the difference so far. The test needs more images the closer the two are, so the estimate's error is
    always a fraction of the distance that a policy has to learn about; candidates near the best are scored in full.

    A score therefore depends on what was scored before. Repeated in the same order, scores repeat.

    References:
        Maron and Moore, 1994, "Hoeffding Races"; Birattari et al., 2002, "A Racing Algorithm for Configuring
        Metaheuristics". The confidence is shared among the looks (Bonferroni).
    """

    def __init__(self, scorer: Top1Scorer, confidence: float = 0.99, first: int = FIRST_SLICE) -> None:
        """Hold the split, whose images must be in random order.

        Args:
            scorer: the split.
            confidence: with which a candidate that is better than the best so far survives all looks.
            first: images of the first slice; each look doubles them.

        Raises:
            ValueError: a value is out of range.
        """
        if not 0.5 < confidence < 1 or first < 1:
            raise ValueError(f"confidence={confidence}, first={first}: needs 0.5 < confidence < 1 and first >= 1")
        self._scorer = scorer
        self._ends = _slice_ends(first, len(scorer))
        looks = max(1, len(self._ends) - 1)
        self._z = NormalDist().inv_cdf(1 - (1 - confidence) / looks)
        self._best: Tensor | None = None

    def __call__(self, model: nn.Module) -> Evaluation:
        """Score a network in eval mode."""
        correct = torch.empty(0, dtype=torch.bool)
        loss = 0.0
        for start, end in pairwise([0, *self._ends]):
            more = self._scorer.answers(model, start, end)
            correct, loss = torch.cat([correct, more.correct]), loss + more.loss
            if end < len(self._scorer) and self._is_behind(correct):
                return Evaluation(self._estimate(correct), loss / end, end)
        if self._best is None or correct.sum() > self._best.sum():
            self._best = correct
        return Evaluation(int(correct.sum()) / len(correct), loss / len(correct), len(correct))

    def _is_behind(self, correct: Tensor) -> bool:
        """Whether the whole split would, almost surely, put a candidate behind the best so far."""
        return self._best is not None and upper_difference(correct, self._best, self._z) < 0

    def _estimate(self, correct: Tensor) -> float:
        """Return the accuracy that a candidate would have on the whole split."""
        assert self._best is not None  # noqa: S101  only what is behind something is dropped
        difference = (int(correct.sum()) - int(self._best[: len(correct)].sum())) / len(correct)
        return max(0.0, int(self._best.sum()) / len(self._best) + difference)


def upper_difference(correct: Tensor, best: Tensor, z: float) -> float:
    """Return an upper confidence limit of the difference in accuracy between a candidate and the best.

    Args:
        correct: the candidate's answers so far, bool, shape ``(n,)``.
        best: the best one's answers on the whole split of N images, the same n first, bool, shape ``(N,)``.
        z: standard errors above the mean.
    """
    count, total = len(correct), len(best)
    known = best[:count]
    better, worse = int((correct & ~known).sum()), int((~correct & known).sum())
    mean = (better - worse) / count
    # One more disagreement than seen keeps a short row of equal answers from looking like certainty.
    variance = (better + worse + 1) / count - mean**2
    unseen = 1 - count / total
    return float(mean + z * (variance / count * unseen) ** 0.5)


def _slice_ends(first: int, total: int) -> list[int]:
    ends = []
    while first < total:
        ends.append(first)
        first *= 2
    return [*ends, total]
