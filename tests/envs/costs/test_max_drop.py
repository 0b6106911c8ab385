"""On the analytic engine, where what uniform ratios lose at a target is known."""

import sys
from collections.abc import Sequence
from types import ModuleType

import pytest

from baselines.random_search import RandomSearch
from baselines.uniform import uniform_trial
from envs.costs.budget import TargetError
from envs.costs.max_drop import Floor, Renumbered, lowest_target, shares, within
from envs.engine.analytic import AnalyticEngine
from envs.pruning_env import PruningEnv
from envs.search import RecordTrials, Trial

ENGINE = AnalyticEngine()
WHOLE = (1.0,) * len(ENGINE.layers)
DENSE = ENGINE.evaluate(WHOLE).metric
FLOPS = ENGINE.cost(WHOLE).flops


def uniform(target: float, _: int) -> Sequence[Trial]:
    return [uniform_trial(PruningEnv(ENGINE, target=target))]


@pytest.mark.parametrize("max_drop", [0.02, 0.1, 0.3])
def test_the_target_is_the_smallest_at_which_uniform_ratios_hold(max_drop: float) -> None:
    floor = Floor(DENSE, max_drop, "flops")
    target = lowest_target(uniform, floor, FLOPS, 0.03, episodes=60)
    grid = [step / 200 for step in range(8, 201)]
    holds = [each for each in grid if floor.holds(uniform(each, 1)[0].evaluation.metric)]
    # Six halvings of the logarithm's range.
    assert min(holds) / 1.1 <= target <= min(holds) * 1.1


def test_any_policy_finds_a_network_that_holds_and_is_smaller_than_uniform_ratios() -> None:
    floor = Floor(DENSE, 0.1, "flops")
    played: list[Trial] = []

    def play(target: float, episodes: int) -> Sequence[Trial]:
        env = RecordTrials(PruningEnv(ENGINE, target=target), episodes)
        RandomSearch(seed=0).search(env)
        played.extend(env.trials)
        return env.trials

    target = lowest_target(play, floor, FLOPS, 0.03, episodes=600)
    assert target < lowest_target(uniform, floor, FLOPS, 0.03, episodes=60)
    best = [trial for trial in within(played, floor, target * FLOPS * (1 + 1e-9)) if trial.feasible]
    assert best
    assert all(trial.evaluation.metric >= DENSE - 0.1 - 1e-9 for trial in best)


def test_what_cannot_hold_is_said() -> None:
    with pytest.raises(TargetError, match=r"max_drop=0\.0: no strategy loses so little"):
        lowest_target(lambda target, _: uniform(min(target, 0.4), 1), Floor(1.0, 0.0, "flops"), FLOPS, 0.03, 6)


@pytest.mark.parametrize(("episodes", "expected"), [(150, [25] * 6), (8, [2, 2, 1, 1, 1, 1]), (2, [1, 1])])
def test_rounds_share_the_episodes(episodes: int, expected: list[int]) -> None:
    assert shares(episodes) == expected


def test_rounds_number_their_trials_one_behind_the_other() -> None:
    told: list[int] = []
    sink = Renumbered(lambda trial: told.append(trial.index), 5)
    for trial in uniform(0.5, 1):
        sink(trial)
    assert told == [5]


def test_a_resource_of_ones_own_can_be_small(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("own_costs")
    vars(module)["weighted"] = lambda cost: cost.flops + 10 * cost.params
    monkeypatch.setitem(sys.modules, "own_costs", module)
    (trial,) = uniform(0.5, 1)
    assert Floor(DENSE, 0.1, "own_costs.weighted").usage(trial) == trial.cost.flops + 10 * trial.cost.params
