from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envs.engine.types import Cost, Evaluation
from envs.pareto import pareto_front
from envs.search import Trial


def make_trial(index: int, metric: float, flops: float) -> Trial:
    cost = Cost(flops=flops, params=-flops)
    return Trial(index, (1.0,), metric - 1, Evaluation(metric, 0.0, 1), cost, True, seconds=0.0, engine_seconds=0.0)


def beaten(trial: Trial, others: list[Trial]) -> bool:
    """The definition, one comparison after the other."""
    mine = (-trial.evaluation.metric, trial.cost.flops)
    theirs = [(-other.evaluation.metric, other.cost.flops) for other in others]
    return any(a <= mine[0] and b <= mine[1] and (a, b) != mine for a, b in theirs)


# Few values, so that ties in one or both are common.
POINTS = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=25)


@settings(deadline=None)  # tests check no timing
@given(POINTS)
def test_the_front_is_what_no_other_beats(points: list[tuple[int, int]]) -> None:
    trials = [make_trial(index, metric, flops) for index, (metric, flops) in enumerate(points)]
    seen: set[tuple[int, int]] = set()
    expected = []
    for trial, point in zip(trials, points, strict=True):
        if point not in seen and not beaten(trial, trials):
            expected.append(trial)
        seen.add(point)
    assert pareto_front(trials, "flops") == sorted(expected, key=lambda trial: trial.cost.flops)


@settings(deadline=None)  # tests check no timing
@given(POINTS, st.randoms())
def test_the_order_of_trials_does_not_matter(points: list[tuple[int, int]], shuffle: Random) -> None:
    trials = [make_trial(index, metric, flops) for index, (metric, flops) in enumerate(points)]
    front = pareto_front(trials, "flops")
    shuffle.shuffle(trials)
    assert pareto_front(trials, "flops") == front


def test_the_resource_is_the_one_named() -> None:
    trials = [make_trial(0, 0.5, 1.0), make_trial(1, 0.5, 2.0)]
    assert pareto_front(trials, "flops") == trials[:1]
    assert pareto_front(trials, "params") == trials[1:]


def test_an_unknown_resource_is_refused() -> None:
    with pytest.raises(ValueError, match="resource='weights'"):
        pareto_front([], "weights")
    with pytest.raises(ValueError, match="trial 0 does not know"):
        pareto_front([make_trial(0, 0.5, 1.0)], "latency")
