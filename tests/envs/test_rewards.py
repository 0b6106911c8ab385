import math

import pytest

from envs.engine.types import Cost, Evaluation
from envs.rewards import REWARDS

EVALUATION = Evaluation(metric=0.9, loss=0.3, n_samples=100, divergence=0.2)
COST = Cost(flops=1e6, params=1e3)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("accuracy", -0.1), ("accuracy_flops", -0.1 * math.log(1e6)), ("accuracy_params", -0.1 * math.log(1e3))],
)
def test_rewards_are_those_of_the_paper(name: str, expected: float) -> None:
    assert REWARDS[name](EVALUATION, COST) == pytest.approx(expected)


@pytest.mark.parametrize(("name", "expected"), [("loss", -0.3), ("divergence", -0.2)])
def test_finer_rewards_are_what_was_measured(name: str, expected: float) -> None:
    assert REWARDS[name](EVALUATION, COST) == expected


@pytest.mark.parametrize("name", ["loss", "divergence"])
def test_what_was_not_measured_is_no_reward(name: str) -> None:
    with pytest.raises(ValueError, match=rf"^reward={name}: scoring gave no {name}; .* reward=accuracy$"):
        REWARDS[name](Evaluation(0.9, math.nan, 0), COST)


@pytest.mark.parametrize("name", ["accuracy", "accuracy_flops", "accuracy_params"])
def test_fewer_errors_are_better(name: str) -> None:
    assert REWARDS[name](EVALUATION._replace(metric=0.95), COST) > REWARDS[name](EVALUATION, COST)


@pytest.mark.parametrize(("name", "cheaper"), [("accuracy_flops", Cost(1e5, 1e3)), ("accuracy_params", Cost(1e6, 1e2))])
def test_a_smaller_network_is_better(name: str, cheaper: Cost) -> None:
    assert REWARDS[name](EVALUATION, cheaper) > REWARDS[name](EVALUATION, COST)
