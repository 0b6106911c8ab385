from itertools import product

import numpy as np
import pytest

from envs.constraint import ResourceBudget, rescale
from envs.engine.analytic import AnalyticEngine, Block
from envs.engine.types import Strategy


def every_strategy(engine: AnalyticEngine) -> list[Strategy]:
    ratios = [[choice / layer.units for choice in layer.choices] for layer in engine.layers]
    return list(product(*ratios))


def random_network(seed: int) -> AnalyticEngine:
    rng = np.random.default_rng(seed)
    blocks = tuple(
        Block(
            int(rng.integers(2, 6)) * 4, 8, int(rng.integers(1, 3)), int(rng.choice([1, 3])), float(rng.uniform(0, 2))
        )
        for _ in range(4)
    )
    return AnalyticEngine(blocks=blocks, interaction=float(rng.uniform(0, 8)))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("target", [0.2, 0.5, 0.8, 1.0])
def test_optimum_is_the_best_of_all_strategies(seed: int, target: float) -> None:
    engine = random_network(seed)
    limit = target * engine.cost((1.0,) * 4).flops
    within = [strategy for strategy in every_strategy(engine) if engine.cost(strategy).flops <= limit]
    best = max(engine.evaluate(strategy).metric for strategy in within)
    found = engine.optimum(target)
    assert found.metric == pytest.approx(best, rel=1e-12)
    assert engine.evaluate(found.strategy).metric == found.metric
    assert engine.cost(found.strategy).flops <= limit


def test_optimum_refuses_a_target_below_the_smallest_network(small_engine: AnalyticEngine) -> None:
    with pytest.raises(ValueError, match=r"target=0\.001"):
        small_engine.optimum(0.001)


def test_cost_counts_what_the_pruned_layers_multiply(small_engine: AnalyticEngine) -> None:
    cost = small_engine.cost((0.5, 0.5, 0.25, 1.0))
    weights = [9 * 3 * 8, 9 * 8 * 12, 12 * 4, 9 * 4 * 8, 8 * 10]
    pixels = [64, 64, 16, 16, 16]
    assert cost.params == sum(weights)
    assert cost.flops == sum(w * p for w, p in zip(weights, pixels, strict=True))


def test_layers_add_up_to_the_dense_network_but_for_the_stem(small_engine: AnalyticEngine) -> None:
    stem = 9 * 3 * 16 * 64
    assert sum(layer.flops for layer in small_engine.layers) + stem == small_engine.cost((1.0,) * 4).flops


def test_damage_of_neighbours_is_more_than_the_sum(small_engine: AnalyticEngine) -> None:
    def lost(strategy: Strategy) -> float:
        return small_engine.evaluate(strategy).loss - small_engine.evaluate((1.0,) * 4).loss

    first, second, third = (0.5, 1.0, 1.0, 1.0), (1.0, 0.5, 1.0, 1.0), (1.0, 1.0, 0.5, 1.0)
    assert lost((0.5, 0.5, 1.0, 1.0)) > lost(first) + lost(second) + 1e-6
    assert lost((0.5, 1.0, 0.5, 1.0)) == pytest.approx(lost(first) + lost(third))


def test_default_problem_is_worth_searching() -> None:
    engine = AnalyticEngine()
    assert len(engine.layers) >= 12
    budget = ResourceBudget(engine, "flops", 0.5, 0.1)
    optimum = engine.optimum(0.5)
    uniform = engine.evaluate(rescale(budget, (1.0,) * len(engine.layers))).metric
    assert engine.evaluate((1.0,) * len(engine.layers)).metric > optimum.metric + 0.1, "the limit binds"
    assert optimum.metric > uniform + 0.2
    assert min(optimum.strategy) >= budget.min_keep, "the environment's default reaches it"
