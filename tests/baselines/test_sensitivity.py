import itertools
import math
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.isotonic import IsotonicRegression

from baselines.sensitivity import SensitivityAnalysis, below_threshold, fit_curve, probing_order
from envs.constraint import ResourceBudget
from envs.engine.analytic import AnalyticEngine, Block
from envs.engine.types import Cost, Evaluation, Layer, Strategy
from envs.pruning_env import PruningEnv
from envs.search import RecordTrials
from envs.sensitivity import SensitivityPoint, pruned_layers

SMALL = AnalyticEngine(
    blocks=(Block(16, 8, 1, 3, 0.4), Block(24, 8, 2, 1, 0.1), Block(16, 4, 1, 3, 0.9), Block(8, 4, 1, 1, 0.2))
)
BUDGET = ResourceBudget(AnalyticEngine(), "flops", 0.5, 0.1)


@dataclass(frozen=True)
class Noisy:
    """The engine in closed form, seen through a small search split: rounded metrics, disturbed or unknown losses."""

    inner: AnalyticEngine = field(default_factory=AnalyticEngine)
    noise: float = 0.0
    digits: int = 9
    loss: bool = True

    @property
    def layers(self) -> tuple[Layer, ...]:
        return self.inner.layers

    def cost(self, strategy: Strategy) -> Cost:
        return self.inner.cost(strategy)

    def evaluate(self, strategy: Strategy) -> Evaluation:
        rng = np.random.default_rng(list(map(int, 1000 * np.array(strategy))))
        metric, loss, samples, _ = self.inner.evaluate(strategy)
        return Evaluation(
            round(metric, self.digits), loss + self.noise * rng.normal() if self.loss else math.nan, samples
        )


def search(policy: SensitivityAnalysis, episodes: int, engine: AnalyticEngine | Noisy = SMALL) -> RecordTrials:
    env = RecordTrials(PruningEnv(engine), episodes)
    policy.search(env)
    return env


def points(env: RecordTrials) -> list[Strategy]:
    return [t.strategy for t in env.trials if len(pruned_layers(t.strategy)) <= 1 and not t.feasible]


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 99), st.sampled_from([0.3, 0.5, 0.8, 1.0]))
def test_the_threshold_is_the_smallest_whose_network_fits(seed: int, target: float) -> None:
    """Against a walk over all thresholds, from the largest down."""
    budget, rng = replace(BUDGET, target=target), np.random.default_rng(seed)
    sizes, powers = rng.lognormal(size=14), rng.uniform(0.5, 3, 14)
    damages = [
        [float(size * (1 - keep) ** power) for keep in ratios[:-1]]
        for size, power, ratios in zip(sizes, powers, budget.ratios, strict=True)
    ]

    def keeping_damage_below(threshold: float) -> Strategy:
        return tuple(
            next((keep for keep, damage in zip(ratios, curve, strict=False) if damage < threshold), 1.0)
            for ratios, curve in zip(budget.ratios, damages, strict=True)
        )

    expected = budget.floors
    for threshold in sorted({0.0, *itertools.chain.from_iterable(damages)}, reverse=True):
        if not budget.fits(keeping_damage_below(threshold)):
            break
        expected = keeping_damage_below(threshold)
    assert below_threshold(budget, damages, (1.0,) * 14) == expected


def test_a_layer_whose_damage_weighs_more_keeps_more() -> None:
    damages = [[(1 - keep) ** 2 for keep in ratios[:-1]] for ratios in BUDGET.ratios]
    alike = below_threshold(BUDGET, damages, (1.0,) * 14)
    guarded = below_threshold(BUDGET, damages, (1.0, 1.0, 9.0, *(1.0,) * 11))
    assert guarded[2] > alike[2]
    assert BUDGET.fits(guarded)


def test_equal_curves_give_uniform_ratios() -> None:
    for curve in ([1.0] * 100, [0.0] * 100):
        strategy = below_threshold(BUDGET, [curve[: len(ratios) - 1] for ratios in BUDGET.ratios], (1.0,) * 14)
        steps = [ratios[1] - ratios[0] for ratios in BUDGET.ratios]
        assert max(strategy) - min(strategy) <= 2 * max(steps)


def test_probes_prune_one_layer_and_are_half_of_the_budget() -> None:
    env = search(SensitivityAnalysis(), 60, AnalyticEngine())
    assert len(points(env)) == len(set(points(env))) == 30
    assert (1.0,) * 14 in points(env)
    # One round over the 14 layers, another, and one for the layer that saves most.
    counts = [sum(strategy[step] < 1 for strategy in points(env)) for step in range(14)]
    assert sorted(counts) == [2] * 13 + [3]
    assert counts.index(3) == max(range(14), key=lambda step: saved(AnalyticEngine(), step))


def saved(engine: AnalyticEngine, step: int) -> float:
    budget = ResourceBudget(engine, "flops", 0.5, 0.1)
    return -budget.usage((*(1.0,) * step, budget.floors[step], *(1.0,) * (13 - step)))


@pytest.mark.parametrize("episodes", range(1, 8))
def test_small_budgets_end_with_a_strategy_at_least_as_good_as_uniform(episodes: int) -> None:
    env = search(SensitivityAnalysis(), episodes)
    assert len(env.trials) == episodes
    assert env.trials[0].feasible
    assert env.trials[-1].feasible
    assert len(points(env)) == (episodes // 2 if episodes >= 4 else 0)


def test_what_was_probed_is_not_probed_again_and_the_search_ends() -> None:
    env = search(SensitivityAnalysis(), 2000, AnalyticEngine())
    ratios = env.problem.budget.ratios
    assert len(points(env)) == 1 + sum(len(layer) - 1 for layer in ratios)
    assert env.remaining > 0
    assert len(points(env)) == len(set(points(env)))


def test_as_published_it_ends_with_the_strategy_of_the_threshold() -> None:
    env = search(SensitivityAnalysis(refine=False), 40, AnalyticEngine())
    longer = search(SensitivityAnalysis(), 40, AnalyticEngine())
    assert len(env.trials) == 1 + 20 + 1
    assert [trial.strategy for trial in env.trials] == [trial.strategy for trial in longer.trials[:22]]
    assert longer.best.reward > env.best.reward > env.trials[0].reward


@pytest.mark.parametrize("watch", ["loss", "metric"])
@pytest.mark.parametrize("loss", [True, False])
def test_noise_and_missing_losses_leave_it_better_than_uniform(watch: str, loss: bool) -> None:
    env = search(SensitivityAnalysis(watch=watch), 60, Noisy(noise=0.01, digits=2, loss=loss))
    assert env.best.reward > env.trials[0].reward


def test_without_a_loss_the_metric_is_watched() -> None:
    engine = Noisy(loss=False)
    watching = [search(SensitivityAnalysis(watch=watch), 60, engine) for watch in ("loss", "metric")]
    assert [t.strategy for t in watching[0].trials] == [t.strategy for t in watching[1].trials]


@settings(deadline=None)
@given(st.lists(st.floats(-1.0, 3.0), min_size=1, max_size=8))
def test_curves_are_isotonic_regressions_through_the_dense_network(rises: list[float]) -> None:
    keeps = np.linspace(0.9, 0.1, len(rises))
    points = [SensitivityPoint(1.0, Evaluation(0.9, 1.0, 10))]
    points += [SensitivityPoint(keep, Evaluation(0.5, 1.0 + rise, 10)) for keep, rise in zip(keeps, rises, strict=True)]
    curve = fit_curve(points[::-1], "loss")
    assert curve is not None
    squares = [0.0, *(1 - keeps) ** 2]
    expected = IsotonicRegression().fit_transform(squares, [0.0, *(max(0.0, rise) for rise in rises)])
    assert curve.at([1.0, *keeps]) == pytest.approx(expected, abs=1e-6)
    assert curve.at([1.0]) == [0.0]
    assert all(np.diff(curve.at(np.linspace(1, 0.01, 50).tolist())) >= -1e-9)


def test_a_loss_that_overflowed_is_the_worst() -> None:
    points = [
        SensitivityPoint(0.5, Evaluation(0.1, math.nan, 9)),
        SensitivityPoint(0.8, Evaluation(0.8, 1.2, 9)),
        SensitivityPoint(1.0, Evaluation(0.9, 1.0, 9)),
    ]
    curve = fit_curve(points, "loss")
    assert curve is not None
    assert curve.at([1.0, 0.8]) == pytest.approx([0.0, 0.2])
    assert curve.at([0.5])[0] > 10


def test_ratios_are_tried_near_the_first_and_then_where_nothing_is_known() -> None:
    ratios = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.9]
    assert list(probing_order(ratios, 0.72))[:3] == [0.7, 0.1, 0.4]
    assert sorted(probing_order(ratios, 0.72)) == ratios
    assert list(probing_order([0.5], 0.9)) == [0.5]
    assert list(probing_order([], 0.9)) == []


def test_layers_without_a_choice_are_left_alone() -> None:
    engine = replace(SMALL, round_to=8)
    env = RecordTrials(PruningEnv(engine, min_keep=0.6, target=0.9), 30)
    assert () in [ratios[:-1] for ratios in env.problem.budget.ratios]
    SensitivityAnalysis().search(env)
    assert env.best.feasible


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"probing": 1.0}, "probing=1.0: must be 0 or more"), ({"watch": "accuracy"}, "watch=accuracy: must be one of")],
)
def test_wrong_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SensitivityAnalysis(**settings)
