from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
from torch import nn

from amc.config.recipe import Finetuning, Recipe
from amc.training.choice import best_trials, quality_of, tune_best, winner
from amc.training.distillation import Distillation
from amc.training.finetune import FineTuner, Tuned, finetuning_recipe, tolerated_loss
from amc.training.network_cache import NetworkCache, digest_of
from amc.training.sgd import Fitting, fit
from amc.zoo.data.dataset import RawData, Split, Splits, make_splits
from amc.zoo.data.device_data import DeviceData
from baselines.random_search import RandomSearch
from baselines.uniform import uniform_trial
from envs.engine.scoring.top1 import Top1Scorer
from envs.engine.settings import EngineSettings
from envs.engine.torch_engine import TorchEngine
from envs.engine.types import Evaluation
from envs.pruning_env import PruningEnv
from envs.search import RecordTrials, Trial

CPU = torch.device("cpu")
RECIPE = Recipe(epochs=4, batch_size=10, shift=0, flip=False)


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, 12, 3, padding=1), nn.BatchNorm2d(12), nn.ReLU(),
        nn.Conv2d(12, 12, 3, padding=1), nn.BatchNorm2d(12), nn.ReLU(),
        nn.Flatten(), nn.Dropout(0.2), nn.Linear(12 * 16, 2),
    )  # fmt: skip


def dim_and_bright() -> Splits:
    labels = torch.arange(300) % 2
    images = torch.randint(0, 200, (300, 1, 4, 4), generator=torch.Generator().manual_seed(0))
    split = Split((images + 40 * labels.view(-1, 1, 1, 1)).to(torch.uint8), labels)
    return make_splits(RawData(split, split, 2), calibration=50, search=100, seed=0)


@pytest.fixture(scope="module")
def data() -> DeviceData:
    return DeviceData(dim_and_bright(), CPU)


@pytest.fixture(scope="module")
def dense(data: DeviceData) -> nn.Module:
    model = network()
    fit(model, data.splits, RECIPE, 0, "cpu")
    return model


@pytest.fixture(scope="module")
def problem(dense: nn.Module, data: DeviceData) -> PruningEnv:
    calibration = data.inputs(data.splits.calibration.images)
    engine = TorchEngine(
        dense, calibration[:1], calibration, data.scorer(data.splits.search), EngineSettings(round_to=1, adaptive_bn=0)
    )
    return PruningEnv(engine, target=0.4)


@pytest.fixture(scope="module")
def trials(problem: PruningEnv) -> list[Trial]:
    env = RecordTrials(problem, 14)
    RandomSearch(seed=0).search(env)
    return env.trials


@pytest.fixture
def tuner(dense: nn.Module, data: DeviceData, tmp_path: Path) -> FineTuner:
    settings = Finetuning(epochs=8, top_k=3, lr_factor=0.2)
    score = data.scorer(data.splits.search)
    return FineTuner(settings, RECIPE, data, score, 5, dense, NetworkCache(tmp_path, "net"))


def engine_of(problem: PruningEnv) -> TorchEngine:
    assert isinstance(problem.engine, TorchEngine)
    return problem.engine


@pytest.mark.parametrize("distill", [0.0, 0.5])
def test_a_training_that_pauses_is_the_one_that_does_not(data: DeviceData, dense: nn.Module, distill: float) -> None:
    distillation = Distillation(dense, distill) if distill else None
    whole, paused = network(3), network(3)
    fit(whole, data.splits, RECIPE, 1, "cpu", distillation=distillation)
    without_dropout(paused)
    without_dropout(again := network(3))
    fit(again, data.splits, RECIPE, 1, "cpu", distillation=distillation)
    fitting = Fitting(paused, data.splits, RECIPE, 1, "cpu", distillation)
    for steps in (0, 7, 7, 30, fitting.steps):
        fitting.advance(steps)
        assert fitting.done == steps
        assert not paused.training
        assert all(parameter.grad is None for parameter in paused.parameters())
        torch.rand(100)
    assert digest_of(paused) == digest_of(again) != digest_of(whole)


def without_dropout(model: nn.Module) -> None:
    """Its draws begin anew behind every pause."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0


def test_many_take_part_and_the_winner_was_trained_to_the_end(
    tuner: FineTuner, problem: PruningEnv, trials: list[Trial]
) -> None:
    uniform = uniform_trial(problem).strategy
    reference = tuner.tune(engine_of(problem), uniform, "uniform", once=True)
    finalists = tune_best(tuner, engine_of(problem), trials, reference)
    assert finalists.uniform is reference
    chosen = {index: tuned for index, tuned in finalists.trials.items() if tuned is not reference}
    assert len(chosen) == 1
    for index, tuned in chosen.items():
        assert trials[index].strategy == tuned.strategy
        alone = tuner.tune(engine_of(problem), tuned.strategy, "alone")
        assert digest_of(alone.model) == digest_of(tuned.model)
        assert (alone.before, alone.after) == (tuned.before, tuned.after)
    again = tune_best(tuner, engine_of(problem), trials, reference)
    assert list(again.trials) == list(finalists.trials)
    assert [digest_of(tuned.model) for tuned in again] == [digest_of(tuned.model) for tuned in finalists]
    assert winner(finalists).after.metric >= reference.after.metric


@pytest.mark.parametrize("top_k", [1, 2, 20])
def test_all_are_trained_to_the_end_where_there_is_time_for_it(
    top_k: int, tuner: FineTuner, problem: PruningEnv, trials: list[Trial]
) -> None:
    few = replace(tuner, settings=Finetuning(epochs=0.5, top_k=top_k))
    uniform = uniform_trial(problem).strategy
    finalists = tune_best(few, engine_of(problem), [trial for trial in trials if trial.strategy != uniform], uniform)
    assert (finalists.uniform is None) == (top_k == 1)
    # One of two places is for uniform ratios.
    best = best_trials([trial for trial in trials if trial.strategy != uniform], 1 if top_k == 2 else top_k)
    assert set(finalists.trials) == {trial.index for trial in best}


@pytest.mark.parametrize("top_k", [2, 3])
def test_what_promises_most_takes_part_however_it_was_scored(
    top_k: int, tuner: FineTuner, problem: PruningEnv, trials: list[Trial]
) -> None:
    few = replace(tuner, settings=Finetuning(epochs=0.5, top_k=top_k))
    uniform = uniform_trial(problem)
    others = [trial for trial in trials if trial.strategy != uniform.strategy]
    worst = min(others, key=lambda trial: trial.evaluation.metric)
    tuned = few.tune(engine_of(problem), uniform.strategy, "uniform", once=True)
    finalists = tune_best(few, engine_of(problem), others, tuned, promising=worst.strategy)
    assert worst.index in finalists.trials
    assert len(finalists.trials) == top_k


@pytest.mark.parametrize("sign", [1, -1])
def test_without_a_contest_what_promises_most_is_taken_unless_it_is_clearly_behind(
    sign: int, tuner: FineTuner, problem: PruningEnv, trials: list[Trial]
) -> None:
    class BySize:
        """The larger a network, the better, or the worse; on many images."""

        def __call__(self, model: nn.Module) -> Evaluation:
            return Evaluation(0.5 + sign * sum(each.numel() for each in model.parameters()) / 4000, 0.0, len(self))

        def __len__(self) -> int:
            return 50_000

    score: Any = BySize()
    one = replace(tuner, settings=Finetuning(epochs=0.1, top_k=1), score=score)
    engine, uniform = engine_of(problem), uniform_trial(problem)
    tuned = one.tune(engine, uniform.strategy, "uniform", once=True)
    others = [trial for trial in trials if trial.feasible and trial.strategy != uniform.strategy]
    (best,) = best_trials(others, 1)
    taken = []
    for trial in {trial.strategy: trial for trial in others if trial.strategy != best.strategy}.values():
        finalists = tune_best(one, engine, others, tuned, promising=trial.strategy)
        (found,) = finalists.trials
        before, after = (score(engine.finish(each.strategy)).metric for each in (best, trial))
        allowed = max(0.01, 2 * (after * (1 - after) / 50_000) ** 0.5)
        assert (finalists.trials[found].strategy == best.strategy) == (before - after > allowed)
        taken.append(finalists.trials[found].strategy == best.strategy)
    assert (sign == 1) in taken


def test_without_steps_networks_stay_as_they_are(tuner: FineTuner, problem: PruningEnv, trials: list[Trial]) -> None:
    none = replace(tuner, settings=Finetuning(epochs=0))
    uniform = uniform_trial(problem).strategy
    reference = none.tune(engine_of(problem), uniform, "uniform", once=True)
    assert not list(none.cache.folder.iterdir())
    others = [trial for trial in trials if trial.strategy != uniform]
    finalists = tune_best(none, engine_of(problem), others, reference)
    assert set(finalists.trials) == {trial.index for trial in best_trials(others, 3)}
    assert all(tuned.before == tuned.after for tuned in finalists)


def test_uniform_ratios_that_are_the_only_trial_are_not_trained_again(tuner: FineTuner, problem: PruningEnv) -> None:
    trial = uniform_trial(problem)
    reference = tuner.tune(engine_of(problem), trial.strategy, "uniform", once=True)
    finalists = tune_best(tuner, engine_of(problem), [trial], reference)
    assert finalists.trials == {trial.index: reference}
    assert winner(finalists) is reference


def test_uniform_ratios_are_fine_tuned_once_for_the_same_settings(tuner: FineTuner, problem: PruningEnv) -> None:
    engine, strategy = engine_of(problem), uniform_trial(problem).strategy
    first = tuner.tune(engine, strategy, "uniform", once=True)
    again = tuner.tune(engine, strategy, "uniform", once=True)
    assert digest_of(first.model) == digest_of(again.model)
    assert first.before == again.before
    assert first.after == again.after
    alone = tuner.tune(engine, strategy, "alone")
    assert alone.after == first.after
    assert digest_of(alone.model) == digest_of(first.model)
    others = [
        replace(tuner, seed=7),
        replace(tuner, teacher=network(9).eval()),
        replace(tuner, settings=replace(tuner.settings, distill=0.0)),
        replace(tuner, settings=replace(tuner.settings, temperature=3.0)),
        replace(tuner, settings=replace(tuner.settings, lr_factor=0.1)),
        replace(tuner, settings=replace(tuner.settings, batch_size=20)),
    ]
    found = [digest_of(other.tune(engine, strategy, "uniform", once=True).model) for other in others]
    longer = tuner.tune(engine, strategy, "uniform", times=2, once=True)
    assert len({digest_of(first.model), *found, digest_of(longer.model)}) == 2 + len(others)
    assert len(list(tuner.cache.folder.iterdir())) == 2 + len(others)
    # Without a teacher it does not matter which one it would have been.
    plain = replace(others[2], teacher=network(9).eval())
    plain.tune(engine, strategy, "uniform", once=True)
    assert len(list(tuner.cache.folder.iterdir())) == 2 + len(others)


@pytest.mark.parametrize(("asked", "batch"), [(None, 128), (64, 64), (256, 256)])
def test_batches_are_as_large_as_in_training_if_nothing_else_is_asked(asked: int | None, batch: int) -> None:
    recipe = finetuning_recipe(Recipe(epochs=1, batch_size=128), Finetuning(epochs=1, batch_size=asked))
    assert recipe.batch_size == batch


def test_a_network_that_diverged_is_behind_all_others() -> None:
    scores = [Evaluation(0.9, float("nan"), 1), Evaluation(0.1, 5.0, 1), Evaluation(0.1, 4.0, 1)]
    tuned = [Tuned((0.5,), nn.Identity(), score, score) for score in scores]
    assert winner(tuned) is tuned[2]
    assert sorted(scores, key=quality_of) == scores


@pytest.mark.parametrize(("wrong", "undone"), [(False, False), (True, True)])
def test_fine_tuning_that_makes_the_network_worse_is_undone_and_said(
    wrong: bool, undone: bool, problem: PruningEnv, tuner: FineTuner, data: DeviceData, caplog: pytest.LogCaptureFixture
) -> None:
    train = data.splits.train
    splits = replace(data.splits, train=Split(train.images, 1 - train.labels)) if wrong else data.splits
    tuner = replace(tuner, data=DeviceData(splits, CPU), settings=replace(tuner.settings, distill=0.0))
    engine, strategy = engine_of(problem), uniform_trial(problem).strategy
    for again in range(2):  # from the cache as well
        tuned = tuner.tune(engine, strategy, "fine-tune uniform", once=True)
        assert (digest_of(tuned.model) == digest_of(engine.finish(strategy))) == undone
        assert tuned.after == data.scorer(data.splits.search)(tuned.model)
        assert (tuned.after == tuned.before) == undone
        assert caplog.text.count("fine-tune uniform: undone") == undone * (again + 1)


@pytest.mark.parametrize(("metric", "images"), [(0.96, 300), (0.85, 5000), (1.0, 100)])
def test_no_more_than_chance_is_tolerated_of_fine_tuning(metric: float, images: int) -> None:
    deviation = np.random.default_rng(0).binomial(images, metric, 100_000).std() / images
    assert tolerated_loss(metric, images) == pytest.approx(max(0.01, 2 * deviation), rel=0.02)


def test_fine_tuning_is_kept_where_its_loss_may_be_chance(
    problem: PruningEnv, tuner: FineTuner, data: DeviceData
) -> None:
    engine, strategy = engine_of(problem), uniform_trial(problem).strategy
    before = data.scorer(data.splits.search)(engine.finish(strategy))
    margin = tolerated_loss(before.metric, len(data.splits.search.labels))
    for lost, kept in ((margin - 1e-9, True), (margin + 1e-9, False)):
        after = before._replace(metric=before.metric - lost)
        with patch.object(Top1Scorer, "__call__", side_effect=[before, after]):
            tuned = tuner.tune(engine, strategy, "fine-tune uniform")
        assert tuned.after == (after if kept else before)
        assert (digest_of(tuned.model) == digest_of(engine.finish(strategy))) != kept
