"""How a coreset ranks strategies: against all images of the search split, and against images that nobody has seen."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from rank_correlation import spearman
from setting import Clock, clocked

from envs.constraint import ResourceBudget
from envs.coreset_scoring import coreset_scorer
from envs.engine.scoring.coreset import CoresetScorer
from envs.engine.scoring.top1 import Score, Top1Scorer
from envs.engine.torch_engine import TorchEngine
from envs.engine.types import Strategy


class Chosen(NamedTuple):
    """A coreset, and the seconds that choosing it took: those of its pilots."""

    score: CoresetScorer
    seconds: float


class Agreement(NamedTuple):
    """Rank correlations over strategies of like cost.

    Attributes:
        whole: of the coreset's scores with those on the whole split.
        unseen: of the coreset's scores with accuracy on images that neither has seen.
        whole_unseen: of scores on the whole split with the same accuracy.
        error: root mean square of what estimates differ by from the whole split's scores.
    """

    whole: float
    unseen: float
    whole_unseen: float
    error: float


def choose(engine: TorchEngine, target: float, min_keep: float, scorer: Top1Scorer, error: float | None) -> Chosen:
    """Choose a coreset for a target, as a search with ``scoring=coreset`` does."""
    clock = Clock([], [])
    budget = ResourceBudget(engine, "flops", target, min_keep)
    score = clocked(clock, lambda: coreset_scorer(engine, budget, scorer, error=error))
    return Chosen(score, clock.median())


def agreement(
    engine: TorchEngine,
    strategies: Sequence[Strategy],
    score: CoresetScorer,
    whole: Top1Scorer,
    unseen: Top1Scorer | None = None,
) -> Agreement:
    """Score strategies on the coreset, on the whole split and, where there is one, on an unseen one."""
    ways: list[Score] = [score, whole, *([unseen] if unseen else [])]
    networks = (engine.prune(strategy) for strategy in strategies)
    guess, known, *rest = np.array([[engine.run(network, way).metric for way in ways] for network in networks]).T
    of_guess, of_known = (spearman(each, rest[0]) if rest else math.nan for each in (guess, known))
    return Agreement(spearman(guess, known), of_guess, of_known, float(np.sqrt(((guess - known) ** 2).mean())))
