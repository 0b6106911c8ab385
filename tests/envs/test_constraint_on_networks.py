"""Both ways to meet a target, on real networks in every granularity; what is used is counted on the pruned network."""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy import sparse
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from envs.engine.scoring.top1 import metric_scorer
from envs.engine.settings import EngineSettings
from envs.engine.surgery.granularity import GRANULARITIES
from envs.engine.surgery.masking import without_masks
from envs.engine.torch_engine import TorchEngine
from envs.pruning_env import CONSTRAINTS, PruningEnv
from envs.search import RecordTrials, play_strategy

IMAGES = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.fixture(params=["channel", *GRANULARITIES])
def engine(request: pytest.FixtureRequest) -> TorchEngine:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Conv2d(16, 24, 1),
        nn.ReLU(),
        nn.Conv2d(24, 32, 3, padding=1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(32, 12),
    )
    settings = EngineSettings(granularity=request.param, reconstruct=False, adaptive_bn=0)
    return TorchEngine(network.eval(), IMAGES[:1], IMAGES, metric_scorer(lambda _: 0.5), settings)


def weights(model: nn.Module) -> Iterator[Tensor]:
    yield from (weight.detach() for weight in model.parameters() if weight.ndim > 1)


def shipped_bytes(weight: Tensor, granularity: str) -> float:
    """The bytes of a float32 weight by SciPy's formats, indices as 16-bit and row pointers as 32-bit integers."""
    matrix, dense = weight.flatten(1).numpy(), 4 * weight.numel()
    if granularity == "channel":
        return dense
    if granularity == "n_m":
        values = int(np.count_nonzero(matrix))
        return min(4 * values + -(-2 * values // 8), dense)
    kernel = {"kernel": weight[0, 0].numel(), "vector": weight.shape[-1] if weight.shape[-1] == 3 else 4}
    block = kernel.get(granularity, 1)
    rows = sparse.bsr_matrix(matrix, blocksize=(1, block))
    return min(4 * rows.data.size + 2 * len(rows.indices) + 4 * len(rows.indptr), dense)


def used(model: nn.Module, resource: str, granularity: str) -> float:
    """What a network takes, counted on itself."""
    plain = without_masks(model)
    if resource == "params":
        return sum(int(weight.count_nonzero()) if weight.ndim > 1 else weight.numel() for weight in plain.parameters())
    if resource == "memory":
        others = [*plain.buffers(), *(parameter for parameter in plain.parameters() if parameter.ndim == 1)]
        whole = sum(4 * tensor.numel() for tensor in others if tensor.is_floating_point())
        return whole + sum(shipped_bytes(weight, granularity) for weight in weights(plain))
    with FlopCounterMode(display=False) as counter:
        plain(IMAGES[:1])
    pixels = [64, 64, 64, 1]
    zeros = [int((weight == 0).sum()) * count for weight, count in zip(weights(plain), pixels, strict=True)]
    return counter.get_total_flops() / 2 - sum(zeros)


@pytest.mark.parametrize("target", [0.45, 0.7, 0.95])
@pytest.mark.parametrize("resource", ["flops", "params", "memory"])
@pytest.mark.parametrize("constraint", CONSTRAINTS)
def test_no_target_is_exceeded(constraint: str, resource: str, target: float, engine: TorchEngine) -> None:
    granularity = engine.settings.granularity
    problem = PruningEnv(engine, constraint=constraint, resource=resource, target=target, min_keep=0.1)
    dense = used(engine.model, resource, granularity)
    assert problem.budget.dense == pytest.approx(dense, rel=1e-12)
    env = RecordTrials(problem, episodes=4)
    rng = np.random.default_rng(0)
    for _ in range(4):
        trial = play_strategy(env, tuple(rng.uniform(0.1, 1.0, len(engine.layers)).tolist()))
        taken = used(engine.prune(trial.strategy), resource, granularity)
        assert trial.feasible
        assert taken <= target * dense
        assert taken == pytest.approx(getattr(trial.cost, resource), rel=1e-12)


@pytest.mark.parametrize("resource", ["flops", "params", "memory"])
def test_what_is_used_never_falls_when_a_layer_keeps_more(resource: str, engine: TorchEngine) -> None:
    rng = np.random.default_rng(1)
    for step, layer in enumerate(engine.layers):
        others = [other.choices[rng.integers(len(other.choices))] / other.units for other in engine.layers]
        grown = [(*others[:step], choice / layer.units, *others[step + 1 :]) for choice in layer.choices]
        amounts = [getattr(engine.cost(strategy), resource) for strategy in grown]
        assert all(fewer <= more for fewer, more in pairwise(amounts))
