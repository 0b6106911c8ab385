"""On the analytic engine, whose clock is made up: what a table predicts, times what this very network differs by."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import cycle, islice

import pytest

from envs.constraint import rescale, uniform_strategy
from envs.costs.budget import ResourceBudget
from envs.costs.measured_time import FAR, NEAR, fit_to_clock
from envs.engine.analytic import AnalyticEngine
from envs.engine.types import Cost, Strategy


class TimedEngine(AnalyticEngine):
    """By its table a tenth of the time does not depend on the layers."""

    def cost(self, strategy: Strategy) -> Cost:
        cost, dense = super().cost(strategy), super().cost((1.0,) * len(strategy))
        return cost._replace(latency=0.1 + 0.9 * cost.flops / dense.flops)


ENGINE = TimedEngine(round_to=1)
FOUND = tuple(islice(cycle((0.9, 0.4, 0.6, 0.5, 0.7, 0.3, 0.8, 0.6)), len(ENGINE.layers)))


@dataclass
class Clock:
    """Tells how often it was asked, and of which strategies."""

    factor: Callable[[Strategy], float]
    asked: list[Sequence[Strategy]] = field(default_factory=list)

    def __call__(self, strategies: Sequence[Strategy]) -> list[float]:
        self.asked.append(strategies)
        return [self.factor(each) * (ENGINE.cost(each).latency or 0.0) for each in strategies]


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
    clock = Clock(lambda _: factor)
    chosen, timed = fit_to_clock(strategy, refit_of(strategy), budget, 0.5, clock)
    assert 0.5 * (1 - FAR) <= chosen.measured <= 0.5 * (1 + NEAR)
    assert timed[0].strategy == strategy
    assert chosen in timed
    assert chosen.measured == pytest.approx(factor * chosen.predicted)
    assert (chosen.strategy == strategy) == (factor == 1.0)


def test_a_strategy_that_did_not_want_all_the_time_does_not_grow_and_is_cut_where_it_takes_too_long() -> None:
    budget, _ = posed()
    small = rescale(replace(budget, target=0.4), FOUND)
    fitted = partial(fit_to_clock, small, refit_of(small), budget, 0.5)
    assert fitted(Clock(lambda _: 1.1))[0].strategy == small
    assert fitted(Clock(lambda _: 0.5))[0].strategy == small
    assert fitted(Clock(lambda _: 1.4))[0].measured <= 0.51


def test_other_limits_are_met_as_they_are() -> None:
    budget, strategy = posed(0.45, latency=0.5)
    flops = ENGINE.cost((1.0,) * len(ENGINE.layers)).flops
    for factor in (0.8, 1.2):
        chosen, _ = fit_to_clock(strategy, refit_of(strategy), budget, 0.5, Clock(lambda _, by=factor: by))
        assert ENGINE.cost(chosen.strategy).flops <= 0.45 * flops
        assert chosen.measured <= 0.51


def test_uniform_ratios_stay_uniform() -> None:
    budget, _ = posed()
    chosen, _ = fit_to_clock(uniform_strategy(budget), uniform_strategy, budget, 0.5, Clock(lambda _: 1.15))
    assert chosen.strategy == uniform_strategy(replace(budget, target=chosen.predicted * (1 + 1e-9)))
    assert 0.5 * (1 - FAR) <= chosen.measured <= 0.51


def test_where_nothing_is_as_fast_the_fastest_is_taken() -> None:
    budget, strategy = posed(0.2)
    chosen, timed = fit_to_clock(strategy, refit_of(strategy), budget, 0.2, Clock(lambda _: 3.0))
    assert chosen.measured == min(each.measured for each in timed)


def test_a_measured_table_is_asked_once_where_it_is_right() -> None:
    budget, strategy = posed()
    clock = Clock(lambda _: 1.0)
    fit_to_clock(strategy, refit_of(strategy), budget, 0.5, clock)
    assert len(clock.asked) == 1
