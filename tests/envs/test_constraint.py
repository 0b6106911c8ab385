import math
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envs.constraint import ResourceBudget, TargetError, bound, fill, increments, rescale, uniform_ratio
from envs.engine.analytic import AnalyticEngine, Block
from envs.engine.types import Cost, Strategy

ENGINES = (
    AnalyticEngine(),
    AnalyticEngine(round_to=8),
    AnalyticEngine(blocks=(Block(16, 8, 1, 3, 1.0), Block(16, 8, 1, 3, 1.0), Block(16, 8, 1, 3, 1.0))),
    AnalyticEngine(blocks=(Block(12, 4, 1, 1, 1.0),), round_to=1),
)
TARGETS = (0.3, 0.5, 0.8, 1.0)

problems = st.builds(
    ResourceBudget,
    st.sampled_from(ENGINES),
    st.sampled_from(["flops", "params"]),
    st.sampled_from(TARGETS),
    st.sampled_from([0.1, 0.2]),
)


@st.composite
def played(draw: st.DrawFn) -> tuple[ResourceBudget, Strategy]:
    budget = draw(problems)
    ratio = st.one_of(st.just(1.0), st.floats(budget.min_keep, 1.0))
    return budget, tuple(draw(ratio) for _ in budget.engine.layers)


def grow(budget: ResourceBudget, strategy: Strategy, step: int) -> Strategy | None:
    """One layer by one choice, or None where it is whole."""
    layer = budget.engine.layers[step]
    more = [choice for choice in layer.choices if choice > layer.kept(strategy[step])]
    return (*strategy[:step], more[0] / layer.units, *strategy[step + 1 :]) if more else None


def assert_allowed(budget: ResourceBudget, strategy: Strategy) -> None:
    assert budget.usage(strategy) <= budget.limit
    for keep, layer in zip(strategy, budget.engine.layers, strict=True):
        assert keep >= budget.min_keep
        assert any(keep == choice / layer.units for choice in layer.choices)


@settings(deadline=None, max_examples=60)
@given(played())
def test_bound_meets_the_target_and_cuts_no_more_than_it_must(case: tuple[ResourceBudget, Strategy]) -> None:
    budget, wanted = case
    executed: Strategy = ()
    for step, keep in enumerate(wanted):
        executed = (*executed, bound(budget, executed, keep))
        assert executed[step] <= budget.execute(step, keep)
        larger = grow(budget, executed, step)
        if executed[step] < budget.execute(step, keep):
            assert larger is not None
            assert not budget.fits(larger + budget.floors[step + 1 :])
    assert_allowed(budget, executed)


@settings(deadline=None, max_examples=60)
@given(played())
def test_rescale_meets_the_target_within_one_rounding_step(case: tuple[ResourceBudget, Strategy]) -> None:
    budget, wanted = case
    executed = rescale(budget, wanted)
    assert_allowed(budget, executed)
    larger = [grown for step in range(len(executed)) if (grown := grow(budget, executed, step)) is not None]
    assert not larger or any(not budget.fits(grown) for grown in larger)


@settings(deadline=None, max_examples=60)
@given(played())
def test_rescale_is_one_factor(case: tuple[ResourceBudget, Strategy]) -> None:
    budget, wanted = case
    executed = rescale(budget, wanted)
    # Every layer rounds from an interval of factors; one factor must lie in all of them.
    low, high = 0.0, math.inf
    for keep, ratio, layer, floor in zip(executed, wanted, budget.engine.layers, budget.floors, strict=True):
        choices = [choice / layer.units for choice in layer.choices if choice / layer.units >= floor]
        place = choices.index(keep)
        if place > 0:
            low = max(low, (choices[place - 1] + keep) / 2 / ratio)
        if place + 1 < len(choices):
            high = min(high, (keep + choices[place + 1]) / 2 / ratio)
    assert low <= high * (1 + 1e-9)


@settings(deadline=None, max_examples=30)
@given(played())
def test_rescale_depends_on_proportions_only(case: tuple[ResourceBudget, Strategy]) -> None:
    budget, wanted = case
    # Halving is exact in floating point, so even ties must fall the same way.
    assert rescale(budget, tuple(keep / 2 for keep in wanted)) == rescale(budget, wanted)


@settings(deadline=None, max_examples=60)
@given(problems, st.randoms())
def test_filling_is_growing_one_by_one(budget: ResourceBudget, random: Random) -> None:
    order = [step for step, ratios in enumerate(budget.ratios) for _ in ratios[1:]]
    random.shuffle(order)
    expected = budget.floors
    for step in order:
        grown = grow(budget, expected, step)
        assert grown is not None
        if not budget.fits(grown):
            break
        expected = grown
    assert fill(budget, order) == expected


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("target", TARGETS)
def test_uniform_ratio_is_the_largest(engine: AnalyticEngine, target: float) -> None:
    budget = ResourceBudget(engine, "flops", target, 0.1)

    def fits(ratio: float) -> bool:
        return budget.fits(tuple(budget.execute(step, ratio) for step in range(len(engine.layers))))

    found = uniform_ratio(budget)
    assert fits(found)
    larger = [increment.factor for increment in increments(budget, (1.0,) * len(engine.layers))]
    assert not any(fits(ratio + 1e-5) for ratio in larger if ratio > found)


def test_target_one_leaves_the_network_whole() -> None:
    budget = ResourceBudget(AnalyticEngine(), "flops", 1.0, 0.1)
    whole = (1.0,) * len(budget.engine.layers)
    assert rescale(budget, (0.1, *whole[1:])) == whole
    assert tuple(budget.execute(step, uniform_ratio(budget)) for step in range(len(whole))) == whole


def test_hardly_anything_to_choose_still_has_a_uniform_ratio() -> None:
    budget = ResourceBudget(AnalyticEngine(), "flops", 1.0, 0.999)
    assert 0.999 <= uniform_ratio(budget) <= 1.0


@pytest.mark.parametrize("target", [0.0, -0.5, 1.5, math.nan, 0.001])
def test_impossible_targets_are_refused_in_one_line(target: float) -> None:
    with pytest.raises(TargetError, match=f"target={target}") as error:
        ResourceBudget(AnalyticEngine(), "flops", target, 0.1)
    assert "\n" not in str(error.value)


def test_the_smallest_network_is_a_possible_target() -> None:
    engine = AnalyticEngine()
    floors = ResourceBudget(engine, "flops", 1.0, 0.1).floors
    least = engine.cost(floors).flops / engine.cost((1.0,) * len(floors)).flops
    assert rescale(ResourceBudget(engine, "flops", least * (1 + 1e-12), 0.1), (1.0,) * len(floors)) == floors


@pytest.mark.parametrize(
    ("resource", "min_keep", "message"),
    [
        ("flop", 0.1, "resource='flop'"),
        ("latency", 0.1, "does not know"),
        ("flops", 0.0, "min_keep"),
        ("flops", 1.0, "nothing to choose"),
    ],
)
def test_unknown_resources_and_bad_minimums_are_refused(resource: str, min_keep: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ResourceBudget(AnalyticEngine(), resource, 0.5, min_keep)


class Stopwatch(AnalyticEngine):
    """An engine that knows how long a network takes: a nanosecond a multiply-accumulate, a microsecond a call."""

    def cost(self, strategy: Strategy) -> Cost:
        cost = super().cost(strategy)
        return cost._replace(latency=1e-6 + 1e-9 * cost.flops)


def test_latency_is_limited_where_the_engine_knows_it() -> None:
    engine = Stopwatch()
    budget = ResourceBudget(engine, "latency", 0.5, 0.1)
    strategy = rescale(budget, (1.0,) * len(engine.layers))
    assert 0.45 < budget.usage(strategy) / budget.dense <= 0.5


@pytest.mark.parametrize(("flops", "params"), [(0.5, 0.3), (0.3, 0.9), (0.5, 0.5)])
def test_several_limits_are_all_met_and_one_of_them_is_used(flops: float, params: float) -> None:
    engine = AnalyticEngine()
    budget = ResourceBudget(engine, "flops", flops, 0.1, limits={"params": params})
    dense, random = engine.cost((1.0,) * len(engine.layers)), np.random.default_rng(0)
    for _ in range(20):
        wanted = tuple(random.uniform(0.1, 1.0, len(engine.layers)))
        strategy = rescale(budget, wanted)
        cost = engine.cost(strategy)
        assert cost.flops <= flops * dense.flops
        assert cost.params <= params * dense.params
        largest = [ResourceBudget(engine, name, target, 0.1) for name, target in (("flops", flops), ("params", params))]
        assert strategy == min((rescale(each, wanted) for each in largest), key=sum)
    assert budget.dense == dense.flops


def test_a_further_limit_that_cannot_be_met_is_named() -> None:
    with pytest.raises(TargetError, match=r"target=0\.001: the smallest that can be reached is .* of the params"):
        ResourceBudget(AnalyticEngine(), "flops", 0.5, 0.1, limits={"params": 0.001})


def test_min_keep_is_not_lost_to_floating_point() -> None:
    engine = AnalyticEngine(blocks=(Block(10, 4, 1, 1, 1.0),), round_to=1)
    assert ResourceBudget(engine, "flops", 1.0, 0.7).floors == (0.7,)
