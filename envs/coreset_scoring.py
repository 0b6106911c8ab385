"""A search on a coreset: pilot networks say which images trials are scored on, and the best few are scored on all."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from envs.constraint import ResourceBudget, rescale
from envs.engine.scoring.coreset import CoresetScorer, choose_coreset, default_error
from envs.engine.scoring.top1 import Score, Top1Scorer
from envs.engine.torch_engine import TorchEngine
from envs.engine.types import Evaluation, Strategy
from envs.pruning_env import PruningEnv
from envs.search import Trial, quality

PILOTS = 8
FINALISTS = 5


def pilot_strategies(budget: ResourceBudget, count: int, seed: int) -> list[Strategy]:
    """Return random strategies that meet the target."""
    rng, layers = np.random.default_rng(seed), len(budget.engine.layers)
    return [rescale(budget, tuple(rng.uniform(budget.min_keep, 1, layers))) for _ in range(count)]


def coreset_scorer(
    engine: TorchEngine,
    budget: ResourceBudget,
    whole: Top1Scorer,
    reward: str = "accuracy",
    error: float | None = None,
) -> CoresetScorer:
    """Choose the images that candidates within a budget are scored on; the seed is the engine's.

    The dense network and ``PILOTS`` random ones are run on the whole split. Nothing else is looked at, so that the
    same engine, budget and split come to the same images.

    Args:
        engine: prunes.
        budget: that candidates meet.
        whole: scores on the whole split.
        reward: that is searched for, a key of ``REWARDS``: images are chosen for what it goes by.
        error: that an estimate may have, see ``ScoringSettings``.
    """
    seed = engine.settings.seed
    networks = (engine.prune(strategy) for strategy in pilot_strategies(budget, PILOTS, seed))
    pilots = [engine.run(network, whole.answers) for network in (engine.model, *networks)]
    value = reward if reward in ("loss", "divergence") else "metric"
    return CoresetScorer(whole, choose_coreset(pilots, error or default_error(pilots, value), seed, value))


def score_finalists(problem: PruningEnv, trials: Sequence[Trial], whole: Score, count: int = FINALISTS) -> list[Trial]:
    """Return the trials of a search, the best of them scored on the whole split.

    Others are scored until the ``count`` best of all are among them: an estimate that was too high is found out, and
    who is behind by more than an estimate can be wrong is let be.

    Args:
        problem: that was searched; its engine scores on the whole split from here on.
        trials: scored on a coreset.
        whole: scores on the whole split.
        count: how many of the best have to be sure.
    """
    engine = problem.engine
    assert isinstance(engine, TorchEngine)  # noqa: S101  others have no coreset
    engine.score = whole
    engine.forget()
    sure: dict[Strategy, tuple[float, Evaluation]] = {}
    found = list(trials)
    while True:
        different = {trial.strategy: trial for trial in reversed(found) if trial.feasible}
        best = sorted(different.values(), key=quality, reverse=True)[:count]
        unsure = [trial.strategy for trial in best if trial.strategy not in sure]
        if not unsure:
            return found
        for strategy in unsure:
            reward, outcome = problem.score(strategy)
            sure[strategy] = reward, outcome["evaluation"]
        found = [_rescored(trial, *sure[trial.strategy]) if trial.strategy in sure else trial for trial in found]


def _rescored(trial: Trial, reward: float, evaluation: Evaluation) -> Trial:
    return replace(trial, reward=reward, evaluation=evaluation)
