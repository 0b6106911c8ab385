from functools import cache
from pathlib import Path

import numpy as np
import pytest

from envs.costs.cost_table import cost_table
from envs.engine.analytic import AnalyticEngine
from envs.engine.errors import NotKnown
from envs.engine.types import KnowsReconstructionError, KnowsUnitScores
from envs.landscapes.description import Description, read_description
from envs.landscapes.engine import LandscapeEngine
from envs.landscapes.files import Landscape, landscape_names, read_landscape, write_landscape
from envs.landscapes.surrogate import FeatureTable, Surrogate, evaluation_of, targets_of

REAL = AnalyticEngine()
WHOLE = (1.0,) * len(REAL.layers)


@cache
def description(errors: bool = True) -> Description:
    steps = range(len(REAL.layers))
    return Description(
        keys=("model=analytic",),
        layers=REAL.layers,
        costs={name: cost_table(REAL, name) for name in ("flops", "params")},
        errors=tuple(REAL.reconstruction_error(step) for step in steps) if errors else None,
        scores=None,
        dense=REAL.evaluate(WHOLE)._replace(n_samples=500, divergence=0.0),
    )


def surrogate(features: int) -> Surrogate:
    rng = np.random.default_rng(0)
    shapes = {
        "first": (2, features, 4),
        "first_bias": (2, 4),
        "second": (2, 4, 4),
        "second_bias": (2, 4),
        "last": (2, 4, 3),
        "linear": (2, features, 3),
        "last_bias": (2, 3),
        "offset": (3,),
        "scale": (3,),
    }
    return Surrogate(**{name: rng.normal(0, 0.3, shape) for name, shape in shapes.items()}, noise=np.full(3, 0.1))


ENGINE = LandscapeEngine(description(), surrogate(2 * len(REAL.layers)))
STRATEGIES = [
    tuple(layer.executed(keep) for layer, keep in zip(REAL.layers, np.random.default_rng(seed).random(14), strict=True))
    for seed in range(5)
]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_layers_costs_and_errors_are_the_real_ones(strategy: tuple[float, ...]) -> None:
    assert ENGINE.layers == REAL.layers
    assert ENGINE.cost(strategy)[:2] == pytest.approx(REAL.cost(strategy)[:2], rel=1e-12)
    assert ENGINE.reconstruction_error(3) == REAL.reconstruction_error(3)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_an_evaluation_is_what_the_networks_compute_member_by_member(strategy: tuple[float, ...]) -> None:
    net = surrogate(2 * len(REAL.layers))
    places = [layer.choices.index(layer.kept(keep)) for layer, keep in zip(REAL.layers, strategy, strict=True)]
    errors = [REAL.reconstruction_error(step)[place] for step, place in enumerate(places)]
    inputs = []
    for keep, error in zip(strategy, errors, strict=True):
        inputs += [np.log(keep), 1 - np.log(0.001 + error) / np.log(0.001)]
    answers = []
    for member in range(2):
        hidden = np.tanh(np.array(inputs) @ net.first[member] + net.first_bias[member])
        hidden = np.tanh(hidden @ net.second[member] + net.second_bias[member])
        answers.append(hidden @ net.last[member] + np.array(inputs) @ net.linear[member] + net.last_bias[member])
    odds, loss, divergence = np.exp(np.mean(answers, axis=0) * net.scale + net.offset)
    assert ENGINE.evaluate(strategy) == pytest.approx((odds / (1 + odds), loss, 500, divergence))


def test_targets_and_evaluations_are_each_others_inverse() -> None:
    targets = targets_of(np.array([0.9]), np.array([0.4]), np.array([0.05]))
    assert evaluation_of(targets[0], 7) == pytest.approx((0.9, 0.4, 7, 0.05), rel=1e-4)


def test_noise_belongs_to_the_strategy_and_the_seed_and_is_as_wide_as_it_says() -> None:
    noisy, other = (LandscapeEngine(description(), surrogate(28), noise=True, seed=seed) for seed in (0, 1))
    assert noisy.evaluate(STRATEGIES[0]) == noisy.evaluate(STRATEGIES[0]) != other.evaluate(STRATEGIES[0])
    away = []
    for seed in range(200):
        engine = LandscapeEngine(description(), surrogate(28), noise=True, seed=seed)
        away.append(np.log(engine.evaluate(WHOLE).loss / ENGINE.evaluate(WHOLE).loss))
    assert np.std(away) == pytest.approx(0.1, rel=0.2)
    assert abs(np.mean(away)) < 0.02


def test_what_was_not_recorded_is_not_known() -> None:
    engine = LandscapeEngine(description(errors=False), surrogate(14))
    assert isinstance(ENGINE, KnowsReconstructionError)
    assert not isinstance(ENGINE, KnowsUnitScores)
    assert not isinstance(engine, KnowsReconstructionError)
    assert FeatureTable(engine.description)(np.zeros((3, 14), dtype=np.int64)).shape == (3, 14)
    with pytest.raises(NotKnown, match="reconstruction_error of this network was not recorded"):
        engine.reconstruction_error(0)
    with pytest.raises(AttributeError, match="no attribute colour"):
        engine.colour  # noqa: B018


def test_a_file_gives_back_what_was_written(tmp_path: Path) -> None:
    landscape = Landscape(description(), surrogate(28), {0.5: WHOLE})
    write_landscape(landscape, "mine", tmp_path)
    found = read_landscape("mine", tmp_path)
    assert (found.description, found.best) == (landscape.description, landscape.best)
    assert read_description(landscape.description.as_json()) == landscape.description
    for name, value in landscape.surrogate._asdict().items():
        np.testing.assert_allclose(getattr(found.surrogate, name), value, rtol=1e-6)
    assert landscape_names(tmp_path) == ("mine",)
    with pytest.raises(ValueError, match="landscape 'yours': must be one of mine"):
        read_landscape("yours", tmp_path)
