from types import SimpleNamespace
from typing import Any

import pytest
from torch import nn

from baselines.known_strategies import BY_DEPTH, known_strategies
from benchmarks import cpu_clock
from benchmarks.cpu_clock import Clock, Pace
from benchmarks.study_search import FINALISTS, MARGIN, search_and_choose
from envs.constraint import uniform_strategy
from envs.engine.analytic import AnalyticEngine
from envs.engine.types import Evaluation, Strategy
from envs.pruning_env import PruningEnv


class Pruned(nn.Identity):
    def __init__(self, strategy: Strategy) -> None:
        super().__init__()
        self.strategy = strategy


class Finishing(AnalyticEngine):
    """Makes something of strategies, and finds how far it is from the dense network by ``divergence``."""

    divergence: Any
    finished: list[Strategy]

    def score_again(self, strategy: Strategy) -> Evaluation:
        return self.evaluate(strategy)

    def finish(self, strategy: Strategy) -> nn.Module:
        self.finished.append(strategy)
        return Pruned(strategy)

    def score_network(self, network: Pruned) -> Evaluation:
        return self.evaluate(network.strategy)._replace(divergence=self.divergence(network.strategy))


class Steady(Pace):
    """A machine that is always as fast."""

    def __init__(self) -> None:
        super().__init__(lambda: None, 1.0)

    def factor(self) -> float:
        return 1.0


def make_stage(divergence: Any) -> Any:  # noqa: ANN401  what a search takes of a stage
    engine = Finishing()
    vars(engine).update(divergence=divergence, finished=[])
    return SimpleNamespace(engine=engine, problem=PruningEnv(engine))


@pytest.mark.parametrize("better", ["found", "uniform"])
def test_what_is_nearest_once_repaired_is_chosen_and_what_was_known_takes_part(better: str) -> None:
    uniform = uniform_strategy(PruningEnv(AnalyticEngine()).budget)
    stage = make_stage(lambda strategy: float((strategy == uniform) == (better == "found")))
    found = search_and_choose(stage, "reconstruction", Clock(1000, Steady()), 0)
    assert len(stage.engine.finished) == len(set(stage.engine.finished)) == found.finalists <= FINALISTS
    assert set(stage.engine.finished) >= set(known_strategies(stage.problem).values())
    assert (found.strategy == uniform) == (better == "uniform")
    assert isinstance(found.network, Pruned)
    assert found.network.strategy == found.strategy


@pytest.mark.parametrize("lead", [0.5 * MARGIN, 1.5 * MARGIN])
def test_what_suits_the_repair_has_to_be_clearly_beaten(lead: float) -> None:
    known = known_strategies(PruningEnv(AnalyticEngine()))
    stage = make_stage(lambda strategy: 1.0 if strategy == known[BY_DEPTH] else 1 - lead)
    found = search_and_choose(stage, "reconstruction", Clock(1000, Steady()), 0)
    assert (found.strategy == known[BY_DEPTH]) == (lead < MARGIN)


def test_a_search_that_there_is_no_time_for_is_left_out_and_the_contest_with_it() -> None:
    stage = make_stage(lambda _: 0.0)
    found = search_and_choose(stage, "reconstruction", Clock(0, Steady()), 0)
    by_depth = known_strategies(stage.problem)[BY_DEPTH]
    assert (found.episodes, found.finalists) == (0, 1)
    assert (found.strategy, stage.engine.finished) == (by_depth, [by_depth])


def test_seconds_of_a_slow_machine_count_less_and_measuring_it_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now, pace = [0.0], [1.0]

    def pass_by(seconds: float) -> None:
        now[0] += seconds * pace[0]

    monkeypatch.setattr(cpu_clock, "cpu_seconds", lambda: now[0])
    clock = Clock(10, Pace(lambda: pass_by(0.1)))
    pass_by(3)
    assert clock.spent == pytest.approx(3)
    pace[0] = 2.0
    pass_by(0)
    clock.spent  # noqa: B018  sees that the machine is slower now
    for _ in range(4):
        pass_by(1)
        assert clock.spent + clock.left() == pytest.approx(10)
    # Halfway between two looks the machine is taken for something between both.
    assert clock.spent == pytest.approx(3 + 4, abs=0.6)
    assert Pace(lambda: pass_by(0.1), 0.1).reference_seconds(lambda: pass_by(0.5), 3) == pytest.approx(0.5)
