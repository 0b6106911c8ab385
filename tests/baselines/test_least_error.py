from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import ConvexHull

from baselines.least_error import MOST, LeastError, as_compounded, convex_minorant
from envs.constraint import ResourceBudget, rescale
from envs.engine.analytic import AnalyticEngine, Block
from envs.engine.types import Cost, Evaluation, Layer, Strategy
from envs.landscapes.engine import LandscapeEngine
from envs.landscapes.making import make_bench
from envs.pruning_env import CONSTRAINTS, PruningEnv
from envs.search import RecordTrials, play_strategy

ENGINE = AnalyticEngine()
SMALL = (Block(16, 8, 1, 3, 0.4), Block(24, 8, 2, 1, 0.1), Block(16, 4, 1, 3, 0.9), Block(8, 4, 1, 1, 0.2))
WEIGHTS = st.lists(st.floats(0.01, 100.0), min_size=14, max_size=14)


@settings(deadline=None, max_examples=30)
@given(WEIGHTS, st.sampled_from(["flops", "params"]), st.floats(0.05, 0.95))
def test_no_layer_can_grow_and_every_constraint_executes_it_as_it_is(
    weights: list[float], resource: str, target: float
) -> None:
    budget = ResourceBudget(ENGINE, resource, target, 0.1)
    strategy = LeastError(budget).strategy(np.array(weights))
    assert budget.fits(strategy)
    assert all(keep >= floor for keep, floor in zip(strategy, budget.floors, strict=True))
    for step, layer in enumerate(ENGINE.layers):
        larger = [choice / layer.units for choice in layer.choices if choice / layer.units > strategy[step]]
        if larger:
            assert not budget.fits((*strategy[:step], larger[0], *strategy[step + 1 :]))
    assert rescale(budget, strategy) == strategy
    for constraint in CONSTRAINTS:
        env = RecordTrials(PruningEnv(ENGINE, resource=resource, target=target, constraint=constraint), 1)
        assert play_strategy(env, strategy).strategy == strategy


def plain_greedy(budget: ResourceBudget) -> Strategy:
    """Computes every price anew for every step, as the errors of this engine are convex."""
    engine = budget.engine
    errors = [
        dict(zip(layer.choices, ENGINE.reconstruction_error(step), strict=True))
        for step, layer in enumerate(engine.layers)
    ]
    kept = [layer.units for layer in engine.layers]

    def usage(counts: list[int]) -> float:
        return budget.usage(tuple(count / layer.units for count, layer in zip(counts, engine.layers, strict=True)))

    def changed(step: int, by: int) -> list[int]:
        return [count + by * (other == step) for other, count in enumerate(kept)]

    while usage(kept) > budget.limit:
        prices = {
            step: (errors[step][count - 4] - errors[step][count]) / (usage(kept) - usage(changed(step, -4)))
            for step, count in enumerate(kept)
            if count - 4 >= budget.floors[step] * engine.layers[step].units - 1e-9
        }
        kept = changed(min(prices, key=prices.__getitem__), -4)
    while True:
        gains = {
            step: (errors[step][count] - errors[step][count + 4]) / (usage(changed(step, 4)) - usage(kept))
            for step, count in enumerate(kept)
            if count < engine.layers[step].units and usage(changed(step, 4)) <= budget.limit
        }
        if not gains:
            return tuple(count / layer.units for count, layer in zip(kept, engine.layers, strict=True))
        kept = changed(max(gains, key=gains.__getitem__), 4)


@pytest.mark.parametrize("resource", ["flops", "params"])
@pytest.mark.parametrize("target", [0.1, 0.3, 0.6, 1.0])
def test_equals_greedy_removal_that_prices_every_step_anew(resource: str, target: float) -> None:
    budget = ResourceBudget(ENGINE, resource, target, 0.1)
    assert LeastError(budget).strategy() == plain_greedy(budget)


@pytest.mark.parametrize("target", [0.3, 0.5, 0.8])
def test_is_near_the_best_of_all_strategies(target: float) -> None:
    engine = AnalyticEngine(blocks=SMALL, interaction=0.0)
    budget = ResourceBudget(engine, "flops", target, 0.1)
    choices = [[choice / layer.units for choice in layer.choices] for layer in engine.layers]
    losses = sorted(engine.evaluate(strategy).loss for strategy in product(*choices) if budget.fits(strategy))
    found = engine.evaluate(LeastError(budget).strategy()).loss
    assert found <= losses[len(losses) // 50]


@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=12))
def test_convex_minorant_is_the_lower_hull(values: list[float]) -> None:
    places = np.cumsum([1, 2, 1, 1, 3, 1, 1, 2, 1, 1, 1, 1])[: len(values)].astype(float)
    found = convex_minorant(list(zip(places, values, strict=True)))
    assert all(low <= value + 1e-12 for low, value in zip(found, values, strict=True))
    slopes = np.diff(found) / np.diff(places)
    assert (np.diff(slopes) >= -1e-9).all()
    if len(values) > 2 and np.ptp(values) > 1e-3:
        points = np.column_stack([places, values])
        hull = ConvexHull(np.vstack([points, [places.mean(), 9.0]]))
        touching = [number for number in hull.vertices if number < len(values)]
        assert {0, len(values) - 1} <= set(touching)
        expected = np.interp(places, places[sorted(touching)], points[sorted(touching), 1])
        np.testing.assert_allclose(found, np.minimum(expected, values), atol=1e-9)


class Ignorant:
    """An engine without the optional member."""

    layers: tuple[Layer, ...] = ENGINE.layers

    def cost(self, strategy: Strategy) -> Cost:
        return ENGINE.cost(strategy)

    def evaluate(self, strategy: Strategy) -> Evaluation:
        return ENGINE.evaluate(strategy)


def test_an_engine_that_does_not_know_its_error_is_refused() -> None:
    with pytest.raises(ValueError, match="Ignorant does not know its reconstruction error"):
        LeastError(ResourceBudget(Ignorant(), "flops", 0.5, 0.1))


@given(st.lists(st.floats(0.0, MOST), min_size=1, max_size=20))
def test_compounded_errors_add_up_to_what_the_product_of_shares_leaves(errors: list[float]) -> None:
    left = float(np.prod([1 - error for error in errors]))
    assert np.exp(-sum(as_compounded(errors))) == pytest.approx(left, rel=1e-9)


def test_errors_above_one_count_as_the_most() -> None:
    assert as_compounded([1.2, MOST, 0.0]) == (as_compounded([MOST])[0], as_compounded([MOST])[0], 0.0)


def test_compounded_no_layer_is_given_up_for_others() -> None:
    """On the landscape of a real network, where the sum of errors would give up one."""
    budget = make_bench("resnet20-cifar10", target=0.2).budget
    engine = budget.engine
    assert isinstance(engine, LandscapeEngine)

    def worst(strategy: Strategy) -> float:
        places = [layer.choices.index(layer.kept(keep)) for layer, keep in zip(engine.layers, strategy, strict=True)]
        return max(engine.reconstruction_error(step)[place] for step, place in enumerate(places))

    plain, compounded = (LeastError(budget, way).strategy() for way in (False, True))
    assert worst(compounded) < worst(plain)
    assert engine.evaluate(compounded).metric > engine.evaluate(plain).metric
