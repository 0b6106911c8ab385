from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch

from amc.store.kept_layers import LayerKept, StageKept
from amc.store.results import FineTuned, PrunedScores, Result, Scores
from envs.engine.types import Cost, Evaluation
from envs.search import Trial


def make_trial(index: int, reward: float, flops: float = 50e6, feasible: bool = True) -> Trial:
    evaluation = Evaluation(metric=1 + reward, loss=-reward, n_samples=300)
    cost = Cost(flops=flops, params=2e6, memory=8e6)
    return Trial(index, (0.5, 0.25), reward, evaluation, cost, feasible, seconds=0.2, engine_seconds=0.1)


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Small networks on a busy machine: threads would wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def sample_trials() -> list[Trial]:
    rewards = [-0.9, -0.3, -0.4, -0.1, -0.2, -0.05, -0.06, -0.04]
    trials = [make_trial(index, reward, 49e6 + 1e5 * index) for index, reward in enumerate(rewards)]
    return [*trials, make_trial(len(trials), -0.01, 60e6, feasible=False)]


@pytest.fixture(scope="session")
def staged_result(sample_result: Result) -> Result:
    last = (LayerKept("features.0", 0.8, 8, 10), LayerKept("classifier", 0.5, 32, 64))
    first = (LayerKept("features.0", 0.625, 10, 16), LayerKept("classifier", 0.5, 64, 128))
    stages = (
        StageKept(0.5**0.5, 70e6, 3e6, 12_000_000, 5, 1.0, 0.93, 0.94, first),
        StageKept(0.5, 49.7e6, 1.5e6, 6_000_000, 9, 0.8, 0.955, 0.975, last),
    )
    return replace(sample_result, stages=stages)


@pytest.fixture(scope="session")
def sample_result() -> Result:
    return Result(
        schema=1,
        model="mobilenet",
        data="digits",
        policy="amc",
        granularity="channel",
        criterion="l1",
        resource="flops",
        target=0.5,
        seed=7,
        trials=9,
        search_seconds=1.8,
        dense=Scores(0.9738, 100e6, 4e6, 16_000_000, 20.0),
        uniform=PrunedScores(0.95, 49.5e6, 2.1e6, 8_400_000, 12.5, search_top1=0.955, test_top1_before_finetune=0.9),
        pruned=PrunedScores(0.97, 49.7e6, 1.5e6, 6_000_000, 10.0, search_top1=0.975, test_top1_before_finetune=0.96),
        strategy=(LayerKept("features.0", 0.5, 8, 16), LayerKept("classifier", 0.25, 32, 128)),
        uniform_strategy=(LayerKept("features.0", 0.75, 12, 16), LayerKept("classifier", 0.7, 90, 128)),
        finetuned=(FineTuned(7, 0.96, 0.975), FineTuned(5, 0.95, 0.965)),
        versions={"amc-search": "0.1.0", "torch": "2.13.0"},
    )
