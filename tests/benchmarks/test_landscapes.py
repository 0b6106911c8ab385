"""Recording, fitting and playing landscapes, on a network in closed form."""

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.landscapes import fitting
from benchmarks.landscapes.checking import check
from benchmarks.landscapes.drawing import draw, draw_between
from benchmarks.landscapes.fitting import fit, sample_of, train
from benchmarks.landscapes.playing import Game, play
from benchmarks.landscapes.records import Record, Row, record_path, recorded
from benchmarks.landscapes.regrets import interval, summary
from benchmarks.landscapes.summit import summits
from envs.costs.cost_table import cost_table
from envs.engine.analytic import AnalyticEngine
from envs.engine.types import Evaluation, Strategy
from envs.landscapes.description import Description
from envs.landscapes.engine import LandscapeEngine
from envs.landscapes.files import landscape_names
from envs.pruning_env import PruningEnv

REAL = AnalyticEngine()
TARGETS = (0.5, 0.3)


def described() -> Description:
    whole = REAL.evaluate((1.0,) * len(REAL.layers))
    return Description(
        keys=("model=analytic",),
        layers=REAL.layers,
        costs={name: cost_table(REAL, name) for name in ("flops", "params")},
        errors=tuple(REAL.reconstruction_error(step) for step in range(len(REAL.layers))),
        scores=None,
        dense=whole._replace(n_samples=100, divergence=0.0),
    )


def real(strategy: Strategy) -> Evaluation:
    found = REAL.evaluate(strategy)
    return found._replace(divergence=found.loss / 2)


def kept(strategy: Strategy) -> tuple[int, ...]:
    return tuple(layer.kept(keep) for layer, keep in zip(REAL.layers, strategy, strict=True))


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Record:
    made = Record(record_path("analytic", tmp_path_factory.mktemp("records")), described())
    for target in TARGETS:
        problem = PruningEnv(REAL, target=target)
        for source, strategy in draw(problem, 150, seed=0):
            made.add(source, target, kept(strategy), real(strategy))
        for _, strategy in draw(problem, 30, seed=9)[10:]:
            made.add("check other", target, kept(strategy), real(strategy))
    made.save()
    return made


def test_a_record_gives_back_what_was_saved_and_goes_on(record: Record, tmp_path: Path) -> None:
    path = record_path("mine", tmp_path)
    first = Record(path, record.description)
    first.add("uniform", 0.5, (1, 2, 3), Evaluation(0.123456789123, 2.5, 100, 0.25))
    first.save()
    again = Record(path)
    assert again.rows == [Row("uniform", 0.5, (1, 2, 3), 0.123456789, 2.5, 0.25)]
    assert again.description == record.description
    again.add("check amc", 0.3, (3, 2, 1), Evaluation(0.5, 1.0, 100, 0.5))
    again.save()
    found = Record(path, record.description)
    assert [row.kept for row in found.fitted()] == [(1, 2, 3)]
    assert [row.kept for row in found.held_out()] == [(3, 2, 1)]
    assert list(recorded(tmp_path)) == ["mine"]


def test_another_networks_record_is_left_alone(record: Record, tmp_path: Path) -> None:
    path = record_path("mine", tmp_path)
    Record(path, record.description).save()
    other = Description(**{**vars(record.description), "layers": record.description.layers[:-1]})
    with pytest.raises(SystemExit, match="another network \\(layers\\)"):
        Record(path, other)
    with pytest.raises(SystemExit, match="no such record"):
        Record(record_path("nobody", tmp_path))


@pytest.mark.parametrize("target", TARGETS)
def test_strategies_are_drawn_within_the_target_each_once_and_alike_for_a_seed(target: float) -> None:
    problem = PruningEnv(REAL, target=target)
    drawn = draw(problem, 60, seed=1)
    assert drawn == draw(problem, 60, seed=1)
    assert len({strategy for _, strategy in drawn}) == 60
    assert all(problem.budget.fits(strategy) for _, strategy in drawn)
    assert {"uniform", "least error", "any"} <= {source for source, _ in drawn}


def test_between_the_targets_lie_others_and_layers_by_themselves() -> None:
    drawn = draw_between(PruningEnv(REAL, target=0.5), 20, seed=1)
    alone = [strategy for source, strategy in drawn if source == "one layer"]
    assert len(alone) == 3 * len(REAL.layers)
    assert all(sum(keep < 1 for keep in strategy) == 1 for strategy in alone)
    used = [REAL.cost(strategy).flops for source, strategy in drawn if source == "between"]
    assert max(used) > 2 * min(used)


def test_a_surrogate_ranks_strategies_that_it_was_not_fitted_to(
    record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fitting, "STEPS", 200)
    monkeypatch.setattr(fitting, "MEMBERS", 2)
    monkeypatch.setattr(fitting, "climbed", lambda *_: {target: [(1.0,) * len(REAL.layers)] for target in TARGETS})
    monkeypatch.setattr(fitting, "scatter", lambda _: np.full(3, 0.01))
    landscape = fit(record)
    figures = check(record, landscape)
    assert figures["held_out"] == 40
    assert figures["metric"] > 0.97
    engine = LandscapeEngine(record.description, landscape.surrogate)
    told = engine.evaluate(REAL.optimum(0.5).strategy).metric
    assert told == pytest.approx(REAL.optimum(0.5).metric, abs=0.03)


def test_summits_are_within_the_budget_and_no_neighbour_is_higher(record: Record) -> None:
    engine = LandscapeEngine(record.description, train(sample_of(record.description, record.fitted()), 1, steps=60))
    budget = PruningEnv(engine, target=0.3).budget
    best, *others = summits(engine, budget, [row.kept for row in record.rows])
    highest = engine.evaluate(best).metric
    assert budget.fits(best)
    assert all(engine.evaluate(other).metric <= highest for other in others)
    for step, ratios in enumerate(budget.ratios):
        for ratio in ratios:
            near = (*best[:step], ratio, *best[step + 1 :])
            if budget.fits(near) and abs(ratios.index(ratio) - ratios.index(best[step])) <= 1:
                assert engine.evaluate(near).metric <= highest + 1e-12


def row(policy: str, landscape: str, seed: int, regret: float) -> dict[str, object]:
    return {
        "game": {"policy": policy, "landscape": landscape, "target": 0.3, "seed": seed},
        "regret": {"150": regret},
        "seconds": 1.0,
    }


def test_regrets_are_averaged_ranked_and_tested_in_pairs() -> None:
    rows = [row("amc", name, seed, 0.1) for name in "ab" for seed in (0, 1)]
    rows += [row("random", name, seed, 0.5 + 0.1 * seed) for name in "ab" for seed in (0, 1)]
    rows += [row("uniform", name, 0, 0.3) for name in "ab"]
    rows += [row("global", "a", seed, 0.0) for seed in (0, 1)]
    figures = summary(rows, 150, range(2))
    assert list(figures) == ["global", "amc", "uniform", "random"]
    assert figures["random"]["regret"] == pytest.approx(0.55)
    assert figures["random"]["ours_less_this"] == pytest.approx(-0.45)
    assert (figures["amc"]["rank"], figures["uniform"]["rank"], figures["random"]["rank"]) == (1, 2, 3)
    assert figures["global"]["rank"] is None
    assert (figures["global"]["cells"], figures["global"]["ours_less_this"]) == (1, pytest.approx(0.1))
    assert interval(np.array([[0.1, 0.1], [0.1, 0.1]])) == [0.1, 0.1]
    low, high = interval(np.array([[0.0, 0.2], [0.4, 0.6]]))
    assert 0.0 <= low < 0.3 < high <= 0.6


def test_a_search_is_measured_by_what_it_would_hand_over() -> None:
    name = landscape_names()[0]
    found = play(Game(name, 0.3, "random", 0, 20, noise=False, reward="accuracy"))
    regrets = list(found["regret"].values())
    assert list(found["regret"]) == ["1", "2", "5", "10", "15", "20"]
    assert regrets == sorted(regrets, reverse=True)
    assert 0 <= regrets[-1] < 1
    assert found["trials"] == 20
    json.dumps(found)
