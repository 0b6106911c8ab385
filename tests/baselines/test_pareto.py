from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from baselines.pareto import ParetoSearch
from baselines.random_search import RandomSearch
from envs.constraint import rescale
from envs.engine.analytic import AnalyticEngine
from envs.pareto import pareto_front
from envs.pruning_env import PruningEnv
from envs.search import RecordTrials, SearchPolicy, Trial, play_strategy

TARGET = 0.5


def play(policy: SearchPolicy, resource: str = "flops", target: float = TARGET, episodes: int = 150) -> RecordTrials:
    problem = PruningEnv(AnalyticEngine(), resource=resource, target=target, constraint="bound")
    env = RecordTrials(problem, episodes)
    policy.search(env)
    return env


def area(env: RecordTrials) -> float:
    """Mean over all shares up to the target of the best metric found within them, times the target."""
    budget = env.problem.budget
    front = pareto_front(env.trials, budget.resource)
    edges = [*(budget.usage(trial.strategy) / budget.dense for trial in front), TARGET]
    return sum((b - a) * trial.evaluation.metric for trial, (a, b) in zip(front, pairwise(edges), strict=True))


@pytest.mark.parametrize("resource", ["flops", "params"])
def test_networks_of_all_sizes_are_tried(resource: str) -> None:
    env = play(ParetoSearch(), resource, episodes=40)
    budget = env.problem.budget
    shares = [budget.usage(trial.strategy) / budget.dense for trial in env.trials[:10]]
    least = budget.usage(budget.floors) / budget.dense
    thirds = [int(3 * (share - least) / (TARGET - least + 1e-9)) for share in shares]
    assert set(thirds) == {0, 1, 2}


@pytest.mark.parametrize("seed", range(3))
def test_its_front_is_above_that_of_random_search(seed: int) -> None:
    assert area(play(ParetoSearch(seed))) > area(play(RandomSearch(seed)))


@settings(deadline=None)  # tests check no timing
@given(st.lists(st.floats(0.1, 1.0), min_size=14, max_size=14), st.floats(0.05, TARGET))
def test_bound_plays_what_was_scaled_to_a_smaller_share_as_it_is(ratios: list[float], share: float) -> None:
    env = RecordTrials(PruningEnv(AnalyticEngine(), target=TARGET, constraint="bound"), 1)
    wanted = rescale(replace(env.problem.budget, target=share), tuple(ratios))
    assert play_strategy(env, wanted).strategy == wanted


def test_a_target_that_leaves_no_choice_is_met() -> None:
    problem = PruningEnv(AnalyticEngine(), constraint="bound")
    least = problem.budget.usage(problem.budget.floors) / problem.budget.dense
    trials: list[Trial] = play(ParetoSearch(), target=least * (1 + 1e-12), episodes=3).trials
    assert {trial.strategy for trial in trials} == {problem.budget.floors}


def test_both_objectives_count() -> None:
    front = pareto_front(play(ParetoSearch()).trials, "flops")
    assert len(front) >= 5
    assert front[0].cost.flops < 0.5 * front[-1].cost.flops
