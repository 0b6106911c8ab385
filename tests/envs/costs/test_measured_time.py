"""On the analytic engine, whose clock is made up: what a table predicts, times what this very network differs by."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import cycle, islice

import pytest
from timed_engine import TimedEngine, clock_of

from envs.constraint import rescale, uniform_strategy
from envs.costs.budget import ResourceBudget
from envs.costs.measured_time import FAR, NEAR, fit_to_clock
from envs.engine.types import Strategy

ENGINE = TimedEngine(round_to=1)
FOUND = tuple(islice(cycle((0.9, 0.4, 0.6, 0.5, 0.7, 0.3, 0.8, 0.6)), len(ENGINE.layers)))


def posed(target: float = 0.5, **limits: float) -> tuple[ResourceBudget, Strategy]:
    if limits:
        budget = ResourceBudget(ENGINE, "flops", target, 0.05, limits=limits)
    else:
        budget = ResourceBudget(ENGINE, "latency", target, 0.05)
    return budget, rescale(budget, FOUND)


def refit_of(strategy: Strategy) -> Callable[[ResourceBudget], Strategy]:
    return lambda budget: rescale(budget, strategy)


@pytest.mark.parametrize("factor", [0.75, 0.9, 1.0, 1.07, 1.3])
def test_what_is_chosen_takes_the_time_that_is_wanted_however_the_table_errs(factor: float) -> None:
    budget, strategy = posed()
    chosen, timed = fit_to_clock(strategy, refit_of(strategy), budget, 0.5, clock_of(ENGINE, factor))
    assert 0.5 * (1 - FAR) <= chosen.measured <= 0.5 * (1 + NEAR)
    assert timed[0].strategy == strategy
    assert chosen in timed
    assert chosen.measured == pytest.approx(factor * chosen.predicted)
    assert (chosen.strategy == strategy) == (factor == 1.0)


def test_a_strategy_that_did_not_want_all_the_time_does_not_grow_and_is_cut_where_it_takes_too_long() -> None:
    budget, _ = posed()
    small = rescale(replace(budget, target=0.4), FOUND)
    fitted = partial(fit_to_clock, small, refit_of(small), budget, 0.5)
    assert fitted(clock_of(ENGINE, 1.1))[0].strategy == small
    assert fitted(clock_of(ENGINE, 0.5))[0].strategy == small
    assert fitted(clock_of(ENGINE, 1.4))[0].measured <= 0.51


def test_other_limits_are_met_as_they_are() -> None:
    budget, strategy = posed(0.45, latency=0.5)
    flops = ENGINE.cost((1.0,) * len(ENGINE.layers)).flops
    for factor in (0.8, 1.2):
        chosen, _ = fit_to_clock(strategy, refit_of(strategy), budget, 0.5, clock_of(ENGINE, factor))
        assert ENGINE.cost(chosen.strategy).flops <= 0.45 * flops
        assert chosen.measured <= 0.51


def test_uniform_ratios_stay_uniform() -> None:
    budget, _ = posed()
    chosen, _ = fit_to_clock(uniform_strategy(budget), uniform_strategy, budget, 0.5, clock_of(ENGINE, 1.15))
    assert chosen.strategy == uniform_strategy(replace(budget, target=chosen.predicted * (1 + 1e-9)))
    assert 0.5 * (1 - FAR) <= chosen.measured <= 0.51


def test_where_nothing_is_as_fast_the_fastest_is_taken() -> None:
    budget, strategy = posed(0.2)
    chosen, timed = fit_to_clock(strategy, refit_of(strategy), budget, 0.2, clock_of(ENGINE, 3.0))
    assert chosen.measured == min(each.measured for each in timed)


def test_a_table_that_is_right_is_measured_once() -> None:
    budget, strategy = posed()
    chosen, timed = fit_to_clock(strategy, refit_of(strategy), budget, 0.5, clock_of(ENGINE, 1.0))
    assert chosen.strategy == strategy
    assert len({each.strategy for each in timed}) == len(timed)
