"""Strategies scored side by side come to what they come to one after the other."""

import threading
from collections.abc import Iterator

import pytest
import torch
from small_engine import make_engine
from torch import nn

from baselines.optuna_search import OptunaSearch
from baselines.random_search import RandomSearch
from baselines.sensitivity import SensitivityAnalysis
from envs.coreset_scoring import pilot_strategies
from envs.engine.analytic import AnalyticEngine
from envs.engine.scoring.racing import RacingScorer
from envs.engine.scoring.top1 import Top1Scorer, metric_scorer
from envs.engine.torch_engine import TorchEngine
from envs.engine.types import EvaluatesMany, Strategy
from envs.pruning_env import PruningEnv
from envs.search import EpisodesExhausted, RecordTrials, SearchPolicy, Trial, play_strategy


@pytest.fixture(params=[1, 2, 3])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def strategies(engine: TorchEngine, count: int) -> list[Strategy]:
    return pilot_strategies(PruningEnv(engine, target=0.5).budget, count, seed=5)


def test_results_are_those_of_one_by_one_to_the_last_bit(threads: int) -> None:
    many, single = make_engine(), make_engine()
    asked = strategies(many, 7)
    asked += [asked[0], many.dense_strategy]
    single.evaluate(asked[3])
    assert many.at_once == threads
    assert many.evaluate_many(asked) == [single.evaluate(strategy) for strategy in asked]
    assert torch.get_num_threads() == threads


def test_what_was_scored_before_is_looked_up() -> None:
    engine = make_engine()
    asked = strategies(engine, 4)
    first = engine.evaluate_many(asked)
    engine.score = metric_scorer(lambda _: 0.0)
    assert engine.evaluate_many(asked) == first


def test_as_many_are_scored_side_by_side_as_there_are_threads(threads: int) -> None:
    engine = make_engine()
    score, inside, most = engine.score, [0], [0]
    lock = threading.Lock()

    class Counting:
        is_pure = True

        def __call__(self, network: nn.Module) -> object:
            with lock:
                inside[0] += 1
                most[0] = max(most[0], inside[0])
            assert torch.get_num_threads() == (1 if threads > 1 else threads)
            found = [score(network) for _ in range(5)][-1]
            with lock:
                inside[0] -= 1
            return found

    engine.score = Counting()
    engine.evaluate_many(strategies(engine, 6))
    assert most[0] <= threads
    assert (most[0] > 1) == (threads > 1)


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("kind", ["race", "of a user"])
def test_scores_that_are_not_pure_are_made_one_after_the_other(kind: str) -> None:
    engine, other = make_engine(), make_engine()
    for each in (engine, other):
        assert isinstance(each.score, Top1Scorer)
        race = RacingScorer(each.score, each.model, first=20)
        each.score = race if kind == "race" else metric_scorer(lambda network: float(next(network.parameters()).sum()))
    asked = strategies(engine, 6)
    assert engine.at_once == 1
    assert repr(engine.evaluate_many(asked)) == repr([other.evaluate(strategy) for strategy in asked])  # NaN too


def test_an_error_in_one_of_them_comes_out(threads: int) -> None:
    engine = make_engine()

    def refuse(_: nn.Module) -> None:
        raise ValueError("of the network")

    engine.score = refuse
    with pytest.raises(ValueError, match="of the network"):
        engine.evaluate_many(strategies(engine, 3))
    assert torch.get_num_threads() == threads


def test_an_engine_that_cannot_is_not_taken_for_one_that_can() -> None:
    assert isinstance(make_engine(), EvaluatesMany)
    assert not isinstance(AnalyticEngine(), EvaluatesMany)
    env = RecordTrials(PruningEnv(AnalyticEngine(), target=0.5), 10)
    assert env.problem.at_once == 1
    layers = len(env.problem.engine.layers)
    wanted = [(0.3 + 0.1 * number,) * layers for number in range(4)]
    one_by_one = RecordTrials(PruningEnv(AnalyticEngine(), target=0.5), 10)
    assert told(env.play_strategies(wanted)) == told([play_strategy(one_by_one, each) for each in wanted])


def told(trials: list[Trial]) -> list[tuple[object, ...]]:
    return [(t.index, t.strategy, t.reward, t.evaluation, t.cost, t.feasible) for t in trials]


@pytest.mark.parametrize("constraint", ["bound", "rescale"])
def test_episodes_played_together_are_those_played_one_after_the_other(constraint: str) -> None:
    """Ratios go through single precision and the constraint as actions do."""
    generator = torch.Generator().manual_seed(0)
    wanted = [tuple(row.tolist()) for row in torch.rand(20, 14, generator=generator, dtype=torch.float64)]
    together, alone = (
        RecordTrials(PruningEnv(AnalyticEngine(), target=0.4, constraint=constraint), 20) for _ in range(2)
    )
    assert told(together.play_strategies(wanted)) == told([play_strategy(alone, each) for each in wanted])


@pytest.mark.parametrize(
    "policy",
    [RandomSearch(seed=1), SensitivityAnalysis(), OptunaSearch(seed=1), OptunaSearch(sampler="random", at_once=3)],
    ids=lambda policy: type(policy).__name__,
)
def test_policies_find_the_same_with_one_core_and_with_three(policy: SearchPolicy) -> None:
    found, before = [], torch.get_num_threads()
    for number in (1, 3):
        engine = make_engine()
        torch.set_num_threads(number)
        try:
            env = RecordTrials(PruningEnv(engine, target=0.5), 14)
            policy.search(env)
        finally:
            torch.set_num_threads(before)
        found.append(env.trials)
    assert [trial.strategy for trial in found[0]] == [trial.strategy for trial in found[1]]
    for one, other in zip(*found, strict=True):
        # Triangular solves round otherwise with other numbers of threads.
        assert list(one.evaluation) == pytest.approx(list(other.evaluation), rel=1e-5)
    assert 9 <= len(found[0]) <= 14


def test_more_than_are_left_are_refused_and_their_seconds_add_up() -> None:
    env = RecordTrials(PruningEnv(make_engine(), target=0.5), 5)
    layers = len(env.problem.engine.layers)
    env.play_strategies([(0.5,) * layers, (0.6,) * layers])
    assert env.trials[0].seconds == env.trials[1].seconds >= env.trials[0].engine_seconds > 0
    with pytest.raises(EpisodesExhausted):
        env.play_strategies([(0.5,) * layers] * 4)
    assert len(env.trials) == 2


def test_the_running_episode_goes_on() -> None:
    env = RecordTrials(PruningEnv(AnalyticEngine(), target=0.5), 5)
    env.reset()
    observation = env.step(env.action_space.high)[0]
    env.play_strategies([(0.5,) * 14])
    alone = RecordTrials(PruningEnv(AnalyticEngine(), target=0.5), 5)
    alone.reset()
    assert (observation == alone.step(alone.action_space.high)[0]).all()
    assert (env.step(env.action_space.low)[0] == alone.step(alone.action_space.low)[0]).all()
