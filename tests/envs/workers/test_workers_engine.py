"""What the engine of a driver makes of its workers, with workers that do as they are told, in this process."""

from collections.abc import Callable, Iterator
from inspect import getattr_static

import pytest

from amc.agent.policy import AMC
from baselines.optuna_search import OptunaSearch
from baselines.random_search import RandomSearch
from baselines.reconstruction import Reconstruction
from baselines.sensitivity import SensitivityAnalysis
from envs.engine.analytic import AnalyticEngine
from envs.engine.types import (
    EvaluatesAhead,
    EvaluatesMany,
    Evaluation,
    KnowsReconstructionError,
    KnowsUnitScores,
    Strategy,
)
from envs.pruning_env import PruningEnv
from envs.search import RecordTrials, SearchPolicy, play
from envs.workers.ahead import evaluate_ahead
from envs.workers.crew import Answer, WorkersLost
from envs.workers.engine import LOSSES, WorkersEngine

ENGINE = AnalyticEngine()
LAYERS = len(ENGINE.layers)
STRATEGIES = [(round(0.25 + 0.05 * number, 2),) * LAYERS for number in range(12)]
EXPECTED = [ENGINE.evaluate(strategy) for strategy in STRATEGIES]


class ScriptedCrew:
    """Workers who answer in an order of the test's choice.

    Args:
        size: how many.
        turn: picks who answers next among those at work.
        loses: says whether a strategy's worker dies, told how often that strategy was begun.
        hangs: says whether it never answers, told likewise.
    """

    def __init__(
        self,
        size: int,
        turn: Callable[[list[int]], int] = min,
        loses: Callable[[Strategy, int], bool] = lambda *_: False,
        hangs: Callable[[Strategy, int], bool] = lambda *_: False,
    ) -> None:
        self.size = size
        self.begun: list[Strategy] = []
        self.most = 0
        self.closed = False
        self._turn, self._loses, self._hangs = turn, loses, hangs
        self._work: dict[int, Strategy] = {}
        self._starting = list(range(size))

    def hand(self, worker: int, strategy: Strategy) -> None:
        assert worker not in self._work
        self._work[worker] = strategy
        self.begun.append(strategy)
        self.most = max(self.most, len(self._work))

    def wait(self, seconds: float | None) -> list[Answer]:
        if self._starting:
            return [Answer(self._starting.pop())]
        awake = [
            worker
            for worker, strategy in self._work.items()
            if not self._hangs(strategy, self.begun.count(strategy)) or self.begun.count(strategy) > 1
        ]
        if not awake:
            assert seconds is not None, "nobody would ever answer"
            return []
        worker = self._turn(awake)
        strategy = self._work.pop(worker)
        if self._loses(strategy, self.begun.count(strategy)):
            self._starting.append(worker)
            return [Answer(worker, lost="killed")]
        if strategy[0] == REFUSED:
            return [Answer(worker, error=ValueError("refused"))]
        return [Answer(worker, ENGINE.evaluate(strategy))]

    def close(self) -> None:
        self.closed = True


REFUSED = 0.9


@pytest.mark.parametrize("turn", [min, max])
@pytest.mark.parametrize("size", [1, 2, 5])
def test_evaluations_come_in_the_order_asked_for_whoever_was_first(size: int, turn: Callable[[list[int]], int]) -> None:
    with WorkersEngine(ENGINE, crew := ScriptedCrew(size, turn)) as engine:
        assert engine.evaluate_many(STRATEGIES) == EXPECTED
        assert engine.evaluate(STRATEGIES[3]) == EXPECTED[3]
    assert crew.closed
    assert crew.most == size
    assert sorted(crew.begun) == sorted(STRATEGIES)


def test_it_is_taken_for_what_it_stands_in_front_of() -> None:
    engine = WorkersEngine(ENGINE, ScriptedCrew(3))
    kinds = (EvaluatesMany, EvaluatesAhead, KnowsReconstructionError, KnowsUnitScores)
    assert [isinstance(engine, kind) for kind in kinds] == [True, True, True, False]
    getattr_static(engine, "reconstruction_error")  # what isinstance goes by since Python 3.12
    with pytest.raises(AttributeError):
        getattr_static(engine, "unit_scores")
    assert engine.layers == ENGINE.layers
    assert engine.reconstruction_error(2) == ENGINE.reconstruction_error(2)
    assert engine.cost(STRATEGIES[0]) == ENGINE.cost(STRATEGIES[0])


def test_a_lost_evaluation_is_repeated_elsewhere_and_counted_once() -> None:
    crew = ScriptedCrew(3, loses=lambda strategy, begun: strategy in STRATEGIES[::2] and begun <= 2)
    with WorkersEngine(ENGINE, crew) as engine:
        assert engine.evaluate_many(STRATEGIES) == EXPECTED
    assert [crew.begun.count(strategy) for strategy in STRATEGIES] == [3, 1] * 6


def test_a_strategy_that_no_worker_survives_ends_the_search() -> None:
    crew = ScriptedCrew(2, loses=lambda strategy, _: strategy == STRATEGIES[1])
    with WorkersEngine(ENGINE, crew) as engine, pytest.raises(WorkersLost, match="one strategy"):
        engine.evaluate_many(STRATEGIES)
    assert crew.begun.count(STRATEGIES[1]) == LOSSES + 1
    assert crew.closed


def test_workers_that_never_get_ready_end_the_search() -> None:
    class Stillborn(ScriptedCrew):
        def wait(self, _: float | None) -> list[Answer]:
            return [Answer(0, lost="no such module")]

    with WorkersEngine(ENGINE, Stillborn(1)) as engine, pytest.raises(WorkersLost, match="no such module"):
        engine.evaluate(STRATEGIES[0])


def test_an_evaluation_that_hangs_is_begun_again_where_a_worker_is_free() -> None:
    crew = ScriptedCrew(2, hangs=lambda strategy, _: strategy == STRATEGIES[4])
    with WorkersEngine(ENGINE, crew, patience=0.01) as engine:
        assert engine.evaluate_many(STRATEGIES) == EXPECTED
    assert [crew.begun.count(strategy) for strategy in STRATEGIES[:6]] == [1] * 4 + [2, 1]


def test_what_is_known_or_on_the_way_is_not_evaluated_again() -> None:
    with WorkersEngine(ENGINE, crew := ScriptedCrew(2)) as engine:
        engine.remember(STRATEGIES[0], Evaluation(0.5, 0.5, 1))
        found = engine.evaluate_many([STRATEGIES[1], STRATEGIES[0], STRATEGIES[1]])
    assert found == [EXPECTED[1], Evaluation(0.5, 0.5, 1), EXPECTED[1]]
    assert crew.begun == [STRATEGIES[1]]


def test_an_error_comes_out_when_it_is_its_strategys_turn() -> None:
    asked = [*STRATEGIES[:2], (REFUSED,) * LAYERS, STRATEGIES[3]]
    with WorkersEngine(ENGINE, ScriptedCrew(4, max)) as engine:
        found = engine.evaluate_ahead(iter(asked), 4)
        assert [next(found), next(found)] == EXPECTED[:2]
        with pytest.raises(ValueError, match="refused"):
            next(found)


class SideBySide(AnalyticEngine):
    at_once = 3

    def evaluate_many(self, strategies: list[Strategy]) -> list[Evaluation]:
        return [self.evaluate(strategy) for strategy in strategies]


@pytest.mark.parametrize("ahead", [1, 3, 20])
@pytest.mark.parametrize("kind", ["plain", "side by side", "workers"])
def test_who_is_asked_knows_all_but_the_last_of_those_before(kind: str, ahead: int) -> None:
    engine = {"plain": ENGINE, "side by side": SideBySide(), "workers": WorkersEngine(ENGINE, ScriptedCrew(4, max))}[
        kind
    ]
    known: list[int] = []
    found: list[Evaluation] = []

    def asked() -> Iterator[Strategy]:
        for strategy in STRATEGIES:
            known.append(len(found))
            yield strategy

    for scored in evaluate_ahead(engine, asked(), ahead):
        found.append(scored.evaluation)
    assert found == EXPECTED
    assert known == [max(0, number - ahead + 1) for number in range(len(STRATEGIES))]


POLICIES: dict[str, Callable[[int | None], SearchPolicy]] = {
    "random": lambda _: RandomSearch(seed=1),
    "tpe": lambda ahead: OptunaSearch("tpe", seed=1, at_once=ahead),
    "executed": lambda ahead: OptunaSearch("nsga2", seed=1, tell_executed=True, at_once=ahead),
    "sensitivity": lambda ahead: SensitivityAnalysis(at_once=ahead),
    "reconstruction": lambda ahead: Reconstruction(1, at_once=ahead),
    "amc": lambda ahead: AMC(seed=1, at_once=ahead),
}
EPISODES = 20


def search(policy: SearchPolicy, engine: AnalyticEngine | WorkersEngine) -> list[tuple[Strategy, float]]:
    env = RecordTrials(PruningEnv(engine, target=0.4), EPISODES)
    play(policy, env)
    assert all(trial.seconds >= trial.engine_seconds >= 0 for trial in env.trials)
    return [(trial.strategy, trial.reward) for trial in env.trials]


@pytest.mark.parametrize("name", POLICIES)
def test_a_policy_finds_the_same_with_workers_as_without_that_asks_as_far_ahead(name: str) -> None:
    alone = search(POLICIES[name](6), ENGINE)
    with WorkersEngine(ENGINE, crew := ScriptedCrew(3, max, loses=lambda _, begun: begun == 1)) as engine:
        # Without being told, it asks for two a worker.
        assert search(POLICIES[name](None), engine) == alone
    assert crew.most == 3
    assert len(alone) == EPISODES
    one_by_one = search(POLICIES[name](None), ENGINE)
    # The errors of this engine are exact: nothing near the first strategy is better, whoever knows it.
    assert (alone == one_by_one) == (name in ("random", "reconstruction"))


def test_what_is_on_the_way_is_no_news_to_the_planner() -> None:
    """Plans made ahead of each other's rewards differ from each other, and from what was played."""
    found = [strategy for strategy, _ in search(AMC(seed=3, warm_up=0.4, at_once=12), ENGINE)]
    warm_up, planned = found[:8], found[8:]
    assert len(set(planned)) == len(planned)
    assert not set(planned) & set(warm_up)
