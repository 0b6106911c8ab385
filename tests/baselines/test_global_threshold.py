import copy
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import nn
from torch.nn.utils import prune

from baselines.global_threshold import NORMALIZE, GlobalThreshold, global_threshold
from envs.constraint import ResourceBudget
from envs.engine.analytic import AnalyticEngine
from envs.engine.settings import EngineSettings
from envs.engine.torch_engine import TorchEngine
from envs.engine.types import Evaluation, Strategy
from envs.pruning_env import PruningEnv
from envs.search import RecordTrials


@dataclass(frozen=True)
class ScoredUnits(AnalyticEngine):
    """The engine in closed form, with log-normal scores of another size and spread in every layer."""

    seed: int = 0

    def unit_scores(self, step: int) -> tuple[float, ...]:
        rng = np.random.default_rng([self.seed, step])
        return tuple(rng.lognormal(rng.normal(), rng.uniform(0.1, 2), self.layers[step].units).tolist())


def search(engine: AnalyticEngine, normalize: str = "mean", target: float = 0.5, constraint: str = "bound") -> Strategy:
    env = RecordTrials(PruningEnv(engine, target=target, constraint=constraint), 3)
    GlobalThreshold(normalize).search(env)
    assert len(env.trials) == 1
    assert env.best.feasible
    return env.best.strategy


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 99), st.sampled_from(sorted(NORMALIZE)), st.sampled_from([0.3, 0.5, 0.8, 1.0]))
def test_the_threshold_is_the_smallest_whose_network_fits(seed: int, normalize: str, target: float) -> None:
    """Against a walk over the scores of all units, from the largest down."""
    engine = ScoredUnits(seed=seed)
    budget = ResourceBudget(engine, "flops", target, 0.1)

    def lamp(layer: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.array([score**2 / sum(other**2 for other in layer if other >= score) for score in layer])

    scale = {"l2": np.linalg.norm, "mean": np.mean, "none": lambda _: 1.0}
    scores = [np.array(engine.unit_scores(step)) for step in range(len(engine.layers))]
    scores = [lamp(layer) if normalize == "lamp" else layer / scale[normalize](layer) for layer in scores]
    expected = budget.floors
    for threshold in -np.sort(-np.concatenate(scores)):
        kept = [float((layer >= threshold).mean()) for layer in scores]
        strategy = tuple(budget.execute(step, keep) for step, keep in enumerate(kept))
        if not budget.fits(strategy):
            break
        expected = strategy
    assert search(engine, normalize, target) == expected


def test_normalizing_makes_the_size_of_a_layers_scores_irrelevant() -> None:
    class Larger(ScoredUnits):
        def unit_scores(self, step: int) -> tuple[float, ...]:
            return tuple(10.0**step * score for score in super().unit_scores(step))

    for normalize in ("l2", "mean"):
        assert search(Larger(), normalize) == search(ScoredUnits(), normalize)
    assert search(Larger(), "none") != search(ScoredUnits(), "none")


def test_a_layer_whose_scores_are_all_zero_goes_first() -> None:
    class Untrained(ScoredUnits):
        def unit_scores(self, step: int) -> tuple[float, ...]:
            return tuple(0.0 * score if step == 3 else score for score in super().unit_scores(step))

    for normalize in NORMALIZE:
        assert search(Untrained(), normalize)[3] == ResourceBudget(Untrained(), "flops", 0.5, 0.1).floors[3]


def test_of_single_weights_it_is_what_torch_prunes_globally() -> None:
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 32, 3), nn.ReLU(), nn.Conv2d(32, 16, 3), nn.ReLU(), nn.Flatten(), nn.Linear(256, 40)]
    network, images = nn.Sequential(*layers).eval(), torch.randn(8, 3, 8, 8)
    settings = EngineSettings(granularity="element", reconstruct=False)
    engine = TorchEngine(network, images[:1], images, lambda _: Evaluation(0.5, 0.5, 1), settings)
    biases = 32 + 16 + 40
    whole = engine.cost(engine.dense_strategy).params
    target = 0.3
    budget = ResourceBudget(engine, "params", target, 0.02)
    pruned = copy.deepcopy(network)
    parameters = [(pruned.get_submodule(layer.name), "weight") for layer in engine.layers]
    amount = 1 - (target * whole - biases) / (whole - biases)
    prune.global_unstructured(parameters, prune.L1Unstructured, amount=amount)
    shares = [float((module.weight != 0).float().mean()) for module, _ in parameters]
    assert max(shares) > 1.5 * min(shares)
    for mine, torchs in zip(global_threshold(budget, "none"), shares, strict=True):
        assert mine == pytest.approx(torchs, abs=1 / 64)


def test_an_engine_without_scores_is_refused_in_one_line() -> None:
    env = RecordTrials(PruningEnv(AnalyticEngine()), 3)
    with pytest.raises(
        ValueError, match=r"^policy=global_threshold needs the scores of units: AnalyticEngine has none$"
    ):
        GlobalThreshold().search(env)
    assert env.trials == []


def test_an_unknown_normalization_is_refused() -> None:
    with pytest.raises(ValueError, match="normalize=max: must be one of l2, lamp, mean, none"):
        GlobalThreshold("max")
