from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import amc
from amc.results import read_trials
from envs.constraint import TargetError
from envs.engine.errors import GraphError
from envs.engine.settings import EngineSettings
from envs.search import RecordTrials, run_episode


@pytest.fixture
def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Conv2d(16, 16, 3, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(16 * 36, 4),
    ).eval()


@pytest.fixture
def batches() -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(1)
    return [(torch.randn(20, 3, 6, 6, generator=generator), torch.arange(20) % 4) for _ in range(3)]


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_the_network_gets_smaller_and_the_one_given_is_untouched(
    model: nn.Module, batches: list[tuple[Tensor, Tensor]]
) -> None:
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    result = amc.prune(
        model, batches[0][0][:1], calibration=batches, validation=batches, policy="random", episodes=4, target=0.5
    )
    assert len(result.trials) == 4
    assert result.best in result.trials
    assert all(0 < keep <= 1 for keep in result.strategy.values())
    assert parameters(result.model) < parameters(model)
    assert result.model(batches[0][0]).shape == (20, 4)
    with torch.no_grad():
        for parameter in result.model.parameters():
            parameter.zero_()
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_a_saved_network_comes_back(model: nn.Module, batches: list[tuple[Tensor, Tensor]], tmp_path: Path) -> None:
    images = batches[0][0]
    result = amc.prune(model, images[:1], calibration=batches, validation=batches, policy="uniform", target=0.4)
    folder = result.save(tmp_path / "saved")
    assert read_trials(folder) == result.trials
    assert torch.allclose(amc.load(folder, model=model)(images), result.model(images), atol=1e-6)


@pytest.mark.parametrize(("granularity", "criterion"), [("element", "obd"), ("n_m", "taylor"), ("channel", "obd")])
def test_finer_granularities_keep_the_shape_and_their_zeros(
    model: nn.Module, batches: list[tuple[Tensor, Tensor]], granularity: str, criterion: str, tmp_path: Path
) -> None:
    images = batches[0][0]
    settings = EngineSettings(granularity=granularity, criterion=criterion)
    result = amc.prune(
        model, images[:1], calibration=batches, validation=batches, policy="uniform", target=0.5, settings=settings
    )
    loaded = amc.load(result.save(tmp_path / "saved"), model=model)
    assert torch.allclose(loaded(images), result.model(images), atol=1e-6)
    zeros = sum(int((weight == 0).sum()) for weight in loaded.parameters() if weight.ndim > 1)
    assert parameters(loaded) - zeros == result.best.cost.params < parameters(model)
    assert (parameters(loaded) == parameters(model)) == (granularity != "channel")


def test_one_may_bring_a_score_and_a_policy(model: nn.Module, batches: list[tuple[Tensor, Tensor]]) -> None:
    class KeepLittle:
        def search(self, env: RecordTrials) -> None:
            run_episode(env, lambda _: 0.3)

    result = amc.prune(
        model, batches[0][0][:1], calibration=batches, score=lambda small: -parameters(small), policy=KeepLittle()
    )
    assert result.best.evaluation.metric < 0
    assert len(result.trials) == 1


def test_the_agent_plays_the_same_trials_for_the_same_seed(
    model: nn.Module, batches: list[tuple[Tensor, Tensor]]
) -> None:
    runs = [
        amc.prune(model, batches[0][0][:1], calibration=batches, validation=batches, episodes=6, seed=seed)
        for seed in (1, 1, 2)
    ]
    first, again, other = ([trial.strategy for trial in result.trials] for result in runs)
    assert first == again
    assert first != other


def test_what_cannot_work_is_said(model: nn.Module, batches: list[tuple[Tensor, Tensor]]) -> None:
    example = batches[0][0][:1]
    with pytest.raises(ValueError, match="validation batches or a score"):
        amc.prune(model, example, calibration=batches)
    with pytest.raises(ValueError, match="policy='best'"):
        amc.prune(model, example, calibration=batches, validation=batches, policy="best")
    with pytest.raises(ValueError, match="calibration holds no batch"):
        amc.prune(model, example, calibration=[], validation=batches)
    with pytest.raises(TargetError, match="target"):
        amc.prune(model, example, calibration=batches, validation=batches, target=0.01)
    with pytest.raises(GraphError, match="nothing to prune"):
        amc.prune(nn.Sequential(nn.Flatten(), nn.Linear(108, 4)), example, calibration=batches, validation=batches)
