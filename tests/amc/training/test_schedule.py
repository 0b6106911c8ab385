import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from amc.config.recipe import Recipe
from amc.training.schedule import rate_factor
from amc.training.sgd import Descent

STEPS = st.integers(1, 400)
WARM_UPS = st.floats(0, 0.9)


@given(STEPS, WARM_UPS)
def test_rates_are_numbers_above_zero_that_rise_to_the_highest_and_fall(steps: int, warm_up: float) -> None:
    rates = [rate_factor(step, steps, warm_up) for step in range(steps)]
    assert all(math.isfinite(rate) and 0 < rate <= 1 for rate in rates)
    top = rates.index(max(rates))
    assert rates[: top + 1] == sorted(rates[: top + 1])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    assert top <= max(math.ceil(warm_up * (steps + 1) - 1), 0)


def test_every_number_of_steps_ends_low_and_warms_up_where_there_is_room() -> None:
    for steps in range(1, 401):
        rates = [rate_factor(step, steps) for step in range(steps)]
        assert max(rates) > 0.9, steps
        # Each half of the cosine has a mean of a half: a short schedule is no other than a long one.
        assert 0.4 < sum(rates) / steps <= 1, steps
        if steps >= 10:
            assert rates[-1] < 0.03, steps
        if steps >= 20:
            assert rates[0] < min(0.1, rates[1]), steps


@given(st.integers(10, 400))
def test_it_is_the_one_cycle_of_torch(steps: int) -> None:
    """With nine steps torch divides by zero; with fewer it begins behind the highest rate."""
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    cycle = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 1.0, total_steps=steps + 1, pct_start=0.1, div_factor=25, cycle_momentum=False
    )
    expected = []
    for _ in range(steps):
        expected += cycle.get_last_lr()
        optimizer.step()
        cycle.step()
    assert [rate_factor(step, steps) for step in range(steps)] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("steps", [1, 2, 8, 9, 10, 37])
def test_a_descent_takes_its_steps_at_these_rates(steps: int) -> None:
    """Down a slope of 1 without momentum, the way walked is the sum of the rates."""
    walker = nn.Linear(1, 1, bias=False)
    start = walker.weight.item()
    descent = Descent(walker, Recipe(epochs=1, lr=0.3, weight_decay=0, momentum=0), steps)
    for _ in range(steps):
        descent.step(walker.weight.sum())
    walked = 0.3 * sum(rate_factor(step, steps) for step in range(steps))
    assert start - walker.weight.item() == pytest.approx(walked, abs=1e-5)
