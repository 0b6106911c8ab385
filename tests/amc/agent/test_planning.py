import numpy as np
import pytest

from amc.agent.outcome import OutcomeModel
from amc.agent.planning import Planner
from amc.agent.rules import Rules
from envs.constraint import ResourceBudget
from envs.engine.analytic import AnalyticEngine
from envs.engine.types import Cost, Strategy
from envs.pruning_env import PruningEnv
from envs.search import RecordTrials, play_strategy


class Cubic(AnalyticEngine):
    """Costs that no table holds."""

    def cost(self, strategy: Strategy) -> Cost:
        return super().cost(strategy)._replace(latency=float(np.prod(strategy[:3])))


def budget(resource: str = "flops", target: float = 0.3) -> ResourceBudget:
    return ResourceBudget(Cubic(), resource, target, min_keep=0.15)


@pytest.mark.parametrize("resource", ["flops", "params", "latency"])
def test_the_rules_are_those_of_the_budget(resource: str) -> None:
    limit = budget(resource)
    rules = Rules(limit)
    assert rules.tabulated == (resource != "latency")
    rng = np.random.default_rng(0)
    places = rng.integers(rules.lowest, rules.highest + 1, size=(30, len(rules.layers)))
    strategies = [rules.strategy_of(each) for each in places]
    assert [rules.places_of(strategy).tolist() for strategy in strategies] == places.tolist()
    np.testing.assert_allclose(rules.usage(places), [limit.usage(strategy) for strategy in strategies], rtol=1e-9)
    assert rules.fits(places).tolist() == [limit.fits(strategy) for strategy in strategies]
    assert rules.strategy_of(rules.lowest) == limit.floors


def planned(resource: str) -> tuple[Planner, OutcomeModel, np.ndarray]:
    rules = Rules(budget(resource))
    planner = Planner(rules, np.sqrt(rules.damage())[..., None], np.random.default_rng(0), moves=60, rounds=3)
    lowest = rules.lowest
    starts = np.unique([planner.filled(_anything(planner, lowest), lowest)], axis=0)
    critic = _anything(planner, starts[0])
    return planner, critic, starts


def _anything(planner: Planner, places: np.ndarray) -> OutcomeModel:
    rng = np.random.default_rng(1)
    near = np.clip(places + rng.integers(-2, 3, size=(12, len(places))), planner.rules.lowest, planner.rules.highest)
    critic = OutcomeModel()
    critic.fit(planner.seen(near), -planner.seen(near).sum(-1), settle=False)
    return critic


@pytest.mark.parametrize("resource", ["flops", "latency"])
def test_what_is_planned_is_within_the_limit_and_is_new(resource: str) -> None:
    planner, critic, starts = planned(resource)
    played = {starts[0].tobytes()}
    near = planner.neighbours(starts[0], played)
    assert planner.rules.fits(near).all()
    assert starts[0].tolist() not in near.tolist()
    found = planner.plan(critic, starts, played, bonus=1.0)
    assert found is not None
    best = planner.promise(critic, near, 1.0).max()
    assert planner.promise(critic, found[None], 1.0)[0] >= min(best, planner.promise(critic, starts, 1.0).max())


@pytest.mark.parametrize("constraint", ["rescale", "bound"])
def test_a_filled_strategy_is_executed_as_it_is(constraint: str) -> None:
    planner, critic, starts = planned("flops")
    rules = planner.rules
    filled = planner.filled(critic, starts[0])
    grown = filled + np.eye(len(filled), dtype=np.int64)
    grown = grown[(grown <= rules.highest).all(-1)]
    assert not rules.fits(grown).any()
    env = RecordTrials(PruningEnv(Cubic(), target=0.3, min_keep=0.15, constraint=constraint), 1)
    assert play_strategy(env, rules.strategy_of(filled)).strategy == rules.strategy_of(filled)
