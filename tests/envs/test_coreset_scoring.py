"""Searches on a coreset: against scores of every image."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from envs.coreset_scoring import FINALISTS, coreset_scorer, pilot_strategies, score_finalists
from envs.engine.scoring.top1 import Top1Scorer
from envs.engine.settings import EngineSettings
from envs.engine.torch_engine import TorchEngine
from envs.engine.types import Strategy
from envs.pruning_env import PruningEnv
from envs.search import RecordTrials, best_trial, play_strategy, quality

IMAGES = 2000


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 16, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(64, 10),
    ).eval()


@pytest.fixture(scope="module")
def problem() -> PruningEnv:
    """A network that answers nine in ten images as it should, by its own word; pruned ones answer some otherwise."""
    dense, images = network(), torch.randn(IMAGES, 1, 8, 8)
    with torch.no_grad():
        labels = dense(images).argmax(1)
    labels[:200] = torch.randint(10, (200,))
    order = torch.randperm(IMAGES)
    whole = Top1Scorer(images[order], labels[order]).compared_with(dense)
    settings = EngineSettings(round_to=1, adaptive_bn=0, seed=3, precision="fp32")
    return PruningEnv(TorchEngine(dense, images[:1], images[:200], whole, settings), target=0.5)


@pytest.fixture(scope="module")
def whole(problem: PruningEnv) -> Top1Scorer:
    score = engine_of(problem).score
    assert isinstance(score, Top1Scorer)
    return score


def engine_of(problem: PruningEnv) -> TorchEngine:
    assert isinstance(problem.engine, TorchEngine)
    return problem.engine


def strategies(problem: PruningEnv, count: int) -> list[Strategy]:
    """Others than the pilots'."""
    return pilot_strategies(problem.budget, count, seed=99)


def test_pilots_meet_the_target_and_follow_the_seed(problem: PruningEnv) -> None:
    pilots = pilot_strategies(problem.budget, 5, seed=1)
    assert all(problem.budget.fits(strategy) for strategy in pilots)
    assert pilots == pilot_strategies(problem.budget, 5, seed=1)
    assert pilots != pilot_strategies(problem.budget, 5, seed=2)


@pytest.mark.parametrize("reward", ["accuracy", "loss", "divergence"])
def test_what_candidates_score_on_it_they_score_on_the_whole_split(
    problem: PruningEnv, whole: Top1Scorer, reward: str
) -> None:
    engine = engine_of(problem)
    score = coreset_scorer(engine, problem.budget, whole, reward)
    assert 0 < len(score.coreset.images) < 0.9 * IMAGES
    field = "metric" if reward == "accuracy" else reward
    networks = [engine.prune(strategy) for strategy in strategies(problem, 30)]
    pairs = np.array([[getattr(engine.run(net, by), field) for by in (score, whole)] for net in networks])
    errors = pairs[:, 0] - pairs[:, 1]
    assert math.sqrt((errors**2).mean()) < 2 * score.coreset.error
    ranks = pairs.argsort(0).argsort(0)
    assert np.corrcoef(ranks.T)[0, 1] > 0.9


def test_the_stated_error_sets_its_size_and_the_same_problem_has_the_same(
    problem: PruningEnv, whole: Top1Scorer
) -> None:
    engine = engine_of(problem)
    small, large, again = (coreset_scorer(engine, problem.budget, whole, error=e).coreset for e in (0.02, 0.005, 0.005))
    assert small.error <= 0.02
    assert large.error <= 0.005
    assert len(small.images) < len(large.images)
    assert torch.equal(large.images, again.images)


def test_the_best_few_are_scored_on_all_images_and_none_that_is_better_by_guess_alone(
    problem: PruningEnv, whole: Top1Scorer
) -> None:
    engine = engine_of(problem)
    engine.score = coreset_scorer(engine, problem.budget, whole, error=0.02)
    engine.forget()
    env = RecordTrials(problem, 30)
    played = strategies(problem, 28)
    for strategy in (*played, played[0]):
        play_strategy(env, strategy)
    env.score_strategy((1.0,) * len(engine.layers))  # not feasible: of no account
    decided = score_finalists(problem, env.trials, whole)
    exact = {trial.strategy: whole(engine.pruner.for_inference(engine.prune(trial.strategy))) for trial in decided}
    sure = [trial for trial in decided if trial.evaluation.n_samples == IMAGES]
    assert FINALISTS <= len({trial.strategy for trial in sure}) < 20
    for trial in sure:
        assert trial.evaluation.metric == exact[trial.strategy].metric
        assert trial.reward == trial.evaluation.metric - 1
    best = sorted((trial for trial in decided if trial.feasible), key=quality, reverse=True)[:FINALISTS]
    assert all(trial in sure for trial in best)
    assert [trial.strategy for trial in decided] == [trial.strategy for trial in env.trials]
    assert best_trial(decided).evaluation.metric == max(trial.evaluation.metric for trial in sure if trial.feasible)
    assert engine_of(problem).score is whole
