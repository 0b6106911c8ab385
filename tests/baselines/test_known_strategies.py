from typing import Any

import numpy as np
import torch
from torch import nn

from baselines.global_threshold import GlobalThreshold
from baselines.known_strategies import BY_DEPTH, known_strategies
from baselines.least_error import LeastError
from baselines.uniform import uniform_trial
from envs.engine.analytic import AnalyticEngine
from envs.engine.settings import EngineSettings
from envs.engine.torch_engine import TorchEngine
from envs.engine.types import Evaluation
from envs.pruning_env import PruningEnv
from envs.search import RecordTrials


def make_engine(**settings: Any) -> TorchEngine:  # noqa: ANN401  any of the settings
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 32, 3), nn.ReLU(), nn.Conv2d(32, 16, 3), nn.ReLU(), nn.Conv2d(16, 64, 1), nn.ReLU()]
    network = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10)).eval()
    readers = [network[2].weight, network[4].weight, network[8].weight]
    with torch.no_grad():
        for spread, weight in enumerate(readers, 1):  # scores go by what reads a channel
            weight *= torch.exp(spread / 2 * torch.randn(weight.shape[1])).view(-1, *(1,) * (weight.ndim - 2))
    images = torch.randn(20, 3, 8, 8)
    return TorchEngine(network, images[:1], images, lambda _: Evaluation(0.5, 0.5, 1), EngineSettings(**settings))


def test_they_are_what_the_policies_play() -> None:
    problem = PruningEnv(make_engine(round_to=4))
    thresholds = {}
    for scale in ("mean", "l2"):
        env = RecordTrials(problem, 1)
        GlobalThreshold(scale).search(env)
        thresholds[f"global threshold, {scale}"] = env.trials[0].strategy
    wanted = {
        "uniform": uniform_trial(problem).strategy,
        "least compounded error": LeastError(problem.budget, compounded=True).strategy(),
        **thresholds,
    }
    # Here it is the same.
    assert LeastError(problem.budget).strategy() == wanted["least compounded error"]
    known = known_strategies(problem)
    assert list(known) == list(wanted)
    for name, strategy in known.items():
        assert problem.budget.fits(strategy)
        # Policies have what rounding leaves of the limit filled up, so theirs may keep more.
        assert all(kept <= played for kept, played in zip(strategy, wanted[name], strict=True)), name
    assert len(set(known.values())) == len(known)


def test_an_engine_that_knows_less_offers_fewer() -> None:
    least = ["least compounded error", "least compounded error by depth", "least error"]
    assert list(known_strategies(PruningEnv(AnalyticEngine()))) == ["uniform", *least]
    thresholds = ["global threshold, mean", "global threshold, l2"]
    assert list(known_strategies(PruningEnv(make_engine(granularity="element")))) == ["uniform", *least, *thresholds]
    assert list(known_strategies(PruningEnv(make_engine(reconstruct=False, round_to=4)))) == ["uniform", *thresholds]


def test_strategies_that_are_the_same_count_once() -> None:
    """With everything kept, all are the dense network."""
    assert list(known_strategies(PruningEnv(make_engine(), target=1.0))) == ["uniform"]


def test_by_depth_early_layers_lose_more_than_late_ones() -> None:
    """Of layers that are all alike, where least error alone takes as much from each."""
    torch.manual_seed(0)
    layers = [each for _ in range(6) for each in (nn.Conv2d(16, 16, 1), nn.ReLU())]
    network = nn.Sequential(nn.Conv2d(3, 16, 1), nn.ReLU(), *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    images = torch.randn(50, 3, 8, 8)
    settings = EngineSettings(round_to=1)
    engine = TorchEngine(network, images[:1], images, lambda _: Evaluation(0.5, 0.5, 1), settings)
    problem = PruningEnv(engine, target=0.4)
    known = known_strategies(problem)
    by_depth, alike = (np.array(known[name]) for name in (BY_DEPTH, "least compounded error"))
    places = np.arange(len(alike))
    assert np.polyfit(places, by_depth, 1)[0] > np.polyfit(places, alike, 1)[0] + 0.01
    assert problem.budget.fits(known[BY_DEPTH])
