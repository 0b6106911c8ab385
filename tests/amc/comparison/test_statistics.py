import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from amc.comparison.statistics import (
    Estimate,
    best_metrics,
    estimate,
    paired,
    pareto,
    rank_correlation,
    reached,
    threshold,
)
from envs.engine.types import Cost, Evaluation
from envs.search import Trial


def trials(metrics: list[float], feasible: list[bool] | None = None, seconds: float = 2.0) -> list[Trial]:
    allowed = feasible or [True] * len(metrics)
    return [
        Trial(index, (1.0,), metric - 1, Evaluation(metric, math.nan, 10), Cost(1, 1), allowed[index], seconds, 1.0)
        for index, metric in enumerate(metrics)
    ]


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=2, max_size=8))
def test_the_interval_holds_the_mean_and_lies_within_the_values(values: list[float]) -> None:
    mean, low, high, n = estimate(values)
    assert mean == pytest.approx(np.mean(values))
    assert n == len(values)
    if low is None or high is None:
        assert len(set(values)) == 1
    else:
        assert min(values) - 1e-12 <= low <= mean + 1e-12
        assert mean - 1e-12 <= high <= max(values) + 1e-12


def test_the_interval_is_near_that_of_the_normal_distribution() -> None:
    values = np.random.default_rng(1).normal(0.9, 0.02, 200).tolist()
    half = 1.96 * np.std(values) / math.sqrt(len(values))
    _, low, high, _ = estimate(values)
    assert low == pytest.approx(np.mean(values) - half, abs=0.1 * half)
    assert high == pytest.approx(np.mean(values) + half, abs=0.1 * half)


@pytest.mark.parametrize("values", [[0.9], [0.1 + 0.2] * 3])
def test_one_seed_or_equal_seeds_have_no_interval(values: list[float]) -> None:
    assert estimate(values) == Estimate(values[0], None, None, len(values))


def test_no_values_have_no_mean() -> None:
    with pytest.raises(ValueError, match="no values"):
        estimate([])


def test_three_differences_of_one_sign_have_p_a_quarter() -> None:
    test = paired([0.9, 0.8, 0.7], [0.89, 0.75, 0.6])
    assert (test.n, test.p, test.smallest_p) == (3, 0.25, 0.25)
    assert test.difference.mean == pytest.approx(0.16 / 3)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(-5, 5), min_size=2, max_size=6))
def test_p_counts_the_sign_flips_that_are_as_far_from_zero(differences: list[int]) -> None:
    flips = [
        abs(sum(sign * one for sign, one in zip(signs, differences, strict=True)))
        for signs in itertools.product((-1, 1), repeat=len(differences))
    ]
    expected = sum(flip >= abs(sum(differences)) for flip in flips) / len(flips)
    test = paired([one / 100 for one in differences], [0.0] * len(differences))
    assert test.p == pytest.approx(expected)
    assert test.p >= min(1, test.smallest_p)


def test_one_pair_has_no_p() -> None:
    test = paired([0.9], [0.8])
    assert (test.n, test.p, test.smallest_p) == (1, None, 1.0)
    assert test.difference.low is None


def test_the_best_so_far_is_a_running_maximum_of_the_feasible() -> None:
    metrics, feasible = [0.9, 0.2, 0.5, 0.4, 0.95, 0.6], [False, True, True, True, False, True]
    assert best_metrics(trials(metrics, feasible))[1:] == [0.2, 0.5, 0.5, 0.5, 0.6]
    assert math.isnan(best_metrics(trials(metrics, feasible))[0])


def test_the_best_so_far_follows_the_reward_and_not_the_metric() -> None:
    first, second = trials([0.8, 0.7])
    assert best_metrics([first, replace(second, reward=first.reward + 1)]) == [0.8, 0.7]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(st.floats(0.01, 1), min_size=1, max_size=10), min_size=1, max_size=4))
def test_reaching_is_what_a_plain_loop_finds(metrics: list[list[float]]) -> None:
    wanted = threshold(max(max(one) for one in metrics))
    counts = []
    for one in metrics:
        for position, metric in enumerate(one, 1):
            if metric >= wanted:
                counts.append(position)
                break
    found = reached([trials(one) for one in metrics], wanted)
    assert (found.by, found.seeds) == (len(counts), len(metrics))
    assert found.evaluations is not None
    assert found.evaluations.mean == pytest.approx(sum(counts) / len(counts))
    assert found.seconds is not None
    assert found.seconds.mean == pytest.approx(2 * sum(counts) / len(counts))


def test_who_never_arrives_is_counted() -> None:
    nobody = reached([trials([0.5]), trials([0.6])], 0.9)
    assert nobody == (0, 2, None, None)


def test_untimed_trials_have_no_seconds() -> None:
    found = reached([trials([0.5, 0.9], seconds=math.nan)], 0.9)
    assert found[2:] == ((2, None, None, 1), None)


@pytest.mark.parametrize(("best", "expected"), [(0.9, 0.891), (0.0, 0.0), (-1.0, -1.01)])
def test_the_threshold_lies_below_the_best(best: float, expected: float) -> None:
    assert threshold(best) == pytest.approx(expected)


def test_rank_correlation_is_pearson_of_the_ranks() -> None:
    pairs = [(0.1, 10.0), (0.4, 40.0), (0.2, 30.0), (0.3, 20.0), (0.9, 15.0)]
    ranks = np.argsort(np.argsort(np.array(pairs), axis=0), axis=0)
    found = rank_correlation(pairs)
    assert found is not None
    assert found.rho == pytest.approx(np.corrcoef(ranks.T)[0, 1])
    assert found.n == 5


def test_few_or_constant_candidates_have_no_rank_correlation() -> None:
    assert rank_correlation([(0.1, 0.2)] * 3) is None
    assert rank_correlation([(0.1, one / 10) for one in range(4)]) == (None, 4)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=20))
def test_the_front_is_what_nothing_dominates(points: list[tuple[int, int]]) -> None:
    def beats(one: tuple[int, int], other: tuple[int, int]) -> bool:
        return one != other and one[0] <= other[0] and one[1] >= other[1]

    expected = sorted({point for point in points if not any(beats(other, point) for other in points)})
    assert pareto(points) == expected
