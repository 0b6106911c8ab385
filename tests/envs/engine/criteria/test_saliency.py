"""Criteria that go by the loss against plain loops, and against what the loss really does without a weight."""

import copy
from collections.abc import Callable

import pytest
import torch
from scipy.stats import spearmanr
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from envs.engine.criteria.ranking import rank_units
from envs.engine.criteria.weights import CRITERIA, DAMPING
from envs.engine.network.samples import Samples
from envs.engine.settings import EngineSettings
from envs.engine.surgery.granularity import GRANULARITIES


def sample_gradient(model: nn.Module, name: str, inputs: Tensor, label: Tensor) -> Tensor:
    model.zero_grad()
    cross_entropy(model(inputs.unsqueeze(0)), label.unsqueeze(0)).backward()
    gradient = model.get_submodule(name).weight.grad
    assert gradient is not None
    return gradient.clone()


def plain_taylor(model: nn.Module, name: str, samples: Samples, _: object) -> Tensor:
    """Of every kernel, ``(outputs, inputs)``."""
    weight = model.get_submodule(name).weight.detach()
    scores = torch.zeros(weight.shape[:2], dtype=weight.dtype)
    for inputs, label in zip(samples.inputs, samples.labels, strict=True):
        gradient = sample_gradient(model, name, inputs, label)
        for row in range(scores.shape[0]):
            for column in range(scores.shape[1]):
                scores[row, column] += float((gradient[row, column] * weight[row, column]).sum()) ** 2
    return scores


def plain_obd(model: nn.Module, name: str, samples: Samples, _: object) -> Tensor:
    weight = model.get_submodule(name).weight.detach()
    pairs = zip(samples.inputs, samples.labels, strict=True)
    curvature = torch.stack([sample_gradient(model, name, *pair) ** 2 for pair in pairs]).mean(0)
    return ((curvature + DAMPING * curvature.mean()) * weight**2 / 2).sum((2, 3))


@pytest.mark.parametrize(("criterion", "plain"), [("taylor", plain_taylor), ("obd", plain_obd)])
def test_kernels_rank_as_in_plain_loops(criterion: str, plain: Callable[..., Tensor]) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 5, 3), nn.Flatten(), nn.Linear(20, 3)).double()
    samples = Samples(torch.randn(12, 3, 6, 6).double(), torch.randint(0, 3, (12,)))
    cuts = {name: GRANULARITIES["kernel"]((3, 3), 4, 4) for name in ("0", "2")}
    found = rank_units(model.eval(), cuts, samples, EngineSettings(granularity="kernel", criterion=criterion))
    for name in cuts:
        scores = plain(model, name, samples, None).flatten()
        assert torch.equal(found[name].ranks.flatten().argsort(), scores.argsort(descending=True))


@pytest.fixture(scope="module")
def trained() -> tuple[nn.Module, Samples]:
    """A network whose mean gradient is gone, on labels that no network can tell for sure."""
    generator = torch.Generator().manual_seed(2)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 12), nn.Tanh(), nn.Linear(12, 3)).double()
    inputs = torch.randn(400, 4, generator=generator).double()
    labels = torch.multinomial((3 * copy.deepcopy(model)(inputs)).softmax(1).detach(), 1, generator=generator).flatten()
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=300, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = cross_entropy(model(inputs), labels) + 1e-3 * sum(p.square().sum() for p in model.parameters())
        loss.backward()
        return loss

    optimizer.step(closure)
    return model, Samples(inputs, labels)


@pytest.mark.parametrize("criterion", ["obd", "taylor"])
def test_weights_rank_as_the_loss_grows_without_them(trained: tuple[nn.Module, Samples], criterion: str) -> None:
    model, samples = trained
    assert isinstance(samples.inputs, Tensor) and samples.labels is not None  # noqa: PT018
    loss = cross_entropy(model(samples.inputs), samples.labels).item()
    weight = model[0].weight.detach()
    growth = torch.zeros_like(weight)
    for row in range(weight.shape[0]):
        for column in range(weight.shape[1]):
            without = copy.deepcopy(model)
            without[0].weight.data[row, column] = 0
            growth[row, column] = cross_entropy(without(samples.inputs), samples.labels).item() - loss
    rule = CRITERIA[criterion]
    assert rule.statistic is not None
    values = rule.statistic(model, ["0"], samples, EngineSettings(granularity="element", criterion=criterion))
    scores = sum(rule.score(weight.unsqueeze(-1), known["0"].unsqueeze(-1)) for known in values)
    assert isinstance(scores, Tensor)
    found = spearmanr(scores.flatten(), growth.flatten()).statistic
    assert found > 0.7


def test_taylor_sees_a_weight_whose_gradients_cancel_in_the_mean() -> None:
    model = nn.Linear(2, 1, bias=False).double()
    inputs = torch.tensor([[0.0, 1.0], [0.0, 1.0]]).double()
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[5.0, 0.1]]))
    labels = model(inputs).detach().flatten() + torch.tensor([1.0, -1.0])
    samples = Samples(inputs, labels, lambda outputs, wanted: (outputs.flatten() - wanted).square().mean())
    cuts = {"": GRANULARITIES["element"]((), 4, 4)}
    found = rank_units(model, cuts, samples, EngineSettings(granularity="element", criterion="taylor"))
    assert found[""].ranks.tolist() == [[1, 0]]
