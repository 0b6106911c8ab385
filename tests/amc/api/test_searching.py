"""What a call found is what the clock makes of it, scored as every trial is."""

import pytest
from timed_engine import TimedEngine, clock_of

from amc.api.searching import by_the_clock, search_within
from baselines.random_search import RandomSearch
from baselines.uniform import uniform_trial
from envs.pruning_env import PruningEnv

ENGINE = TimedEngine(round_to=1)


@pytest.mark.parametrize("factor", [0.85, 1.0, 1.2])
def test_what_was_found_and_uniform_ratios_take_the_time_that_is_wanted(factor: float) -> None:
    searched = search_within(PruningEnv(ENGINE, resource="latency", target=0.5), RandomSearch(seed=0), 5, [])
    found = by_the_clock(searched, 0.5, clock_of(ENGINE, factor))
    assert found.trials == searched.trials
    assert found.uniform is not None
    for trial in (found.best, found.uniform):
        assert 0.475 <= factor * (trial.cost.latency or 0.0) <= 0.51
        assert trial.feasible
        assert trial.evaluation == ENGINE.evaluate(trial.strategy)
        assert trial.reward == trial.evaluation.metric - 1
    assert (found.best.strategy == searched.best.strategy) == (factor == 1.0)
    share = (found.uniform.cost.latency or 0.0) * (1 + 1e-9)
    assert found.uniform.strategy == uniform_trial(PruningEnv(ENGINE, resource="latency", target=share)).strategy
