"""Scores a network on a split: the whole of it or by racing, batches side by side, in the precision that pays."""

from envs.engine.scoring.coreset import Coreset, CoresetScorer, choose_coreset
from envs.engine.scoring.parallel import run_batches
from envs.engine.scoring.precision import choose_precision, running_in
from envs.engine.scoring.racing import RacingScorer
from envs.engine.scoring.top1 import Score, Top1Scorer, metric_scorer

__all__ = [
    "Coreset",
    "CoresetScorer",
    "RacingScorer",
    "Score",
    "Top1Scorer",
    "choose_coreset",
    "choose_precision",
    "metric_scorer",
    "run_batches",
    "running_in",
]
