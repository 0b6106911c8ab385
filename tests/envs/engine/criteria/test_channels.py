"""Criteria of whole channels against plain counts, planted channels and scikit-learn."""

from itertools import product

import numpy as np
import pytest
import torch
from sklearn.linear_model import Lasso
from torch import Tensor, nn
from torch.nn.functional import unfold

from amc.zoo.models.registry import build_model
from envs.engine.criteria.channels import apoz, bn_scale, channel_gram, regression, shares_of_zeros
from envs.engine.criteria.lasso import entry_penalties, lasso_path
from envs.engine.criteria.ranking import score_channels
from envs.engine.criteria.weights import CRITERIA
from envs.engine.errors import GraphError
from envs.engine.network.channels import Side
from envs.engine.network.samples import Samples
from envs.engine.repair.calibration import InputMoments
from envs.engine.scoring.top1 import metric_scorer
from envs.engine.settings import EngineSettings
from envs.engine.torch_engine import TorchEngine
from envs.engine.tracing.graph import trace

SETTINGS = EngineSettings()


def chain(activation: type[nn.Module] = nn.ReLU) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), activation(), nn.Conv2d(16, 6, 3), nn.Flatten()
    ).eval()


@pytest.fixture
def images() -> Tensor:
    return torch.randn(250, 3, 6, 6, generator=torch.Generator().manual_seed(1))


def test_apoz_equals_a_plain_count(images: Tensor) -> None:
    model = chain()
    group = trace(model, images[:1]).groups[0]
    with torch.no_grad():
        activations = model[:3](images)
    plain = torch.tensor([float((activations[:, channel] == 0).double().mean()) for channel in range(16)])
    (scores,) = apoz(model, [group], Samples(images), SETTINGS)
    torch.testing.assert_close(1 - scores, plain.double(), rtol=0, atol=1e-6)
    torch.testing.assert_close(shares_of_zeros(model, ["3"], images)["3"], plain.double(), rtol=0, atol=1e-6)


def test_apoz_of_a_flattened_map_is_the_mean_over_its_pixels(images: Tensor) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16 * 16, 4)).eval()
    (scores,) = apoz(model, trace(model, images[:1]).groups, Samples(images), SETTINGS)
    with torch.no_grad():
        alive = (model[:2](images) != 0).double().mean((0, 2, 3))
    torch.testing.assert_close(scores, alive, rtol=0, atol=1e-9)


def test_apoz_needs_zeros(images: Tensor) -> None:
    model = chain(nn.Sigmoid)
    with pytest.raises(GraphError, match="criterion=apoz: no layer reads a zero") as refused:
        apoz(model, trace(model, images[:1]).groups, Samples(images), SETTINGS)
    assert "\n" not in str(refused.value)


def test_bn_scale_is_the_sum_over_all_norms_of_a_group(images: Tensor) -> None:
    torch.manual_seed(0)
    model = build_model("resnet20", 10, 3, 1.0).eval()
    norms = {name: module for name, module in model.named_modules() if isinstance(module, nn.BatchNorm2d)}
    for norm in norms.values():
        nn.init.normal_(norm.weight)
    groups = trace(model, images[:1]).groups
    scores = bn_scale(model, groups, Samples(images), SETTINGS)
    by_reader = {group.at(Side.IN)[0].module: values for group, values in zip(groups, scores, strict=True)}
    inner = norms["blocks.0.bn1"].weight.detach().abs().double()
    torch.testing.assert_close(by_reader["blocks.0.conv2"], inner)
    stage = ("stem.1", "blocks.0.bn2", "blocks.1.bn2", "blocks.2.bn2")
    torch.testing.assert_close(
        by_reader["blocks.0.conv1"], sum(norms[name].weight.detach().abs().double() for name in stage)
    )


def test_bn_scale_needs_a_norm(images: Tensor) -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 1), nn.ReLU(), nn.Conv2d(8, 4, 1)).eval()
    with pytest.raises(GraphError, match="criterion=bn_scale: no batch norm scales what 2 reads"):
        bn_scale(model, trace(model, images[:1]).groups, Samples(images), SETTINGS)


@pytest.mark.parametrize("name", CRITERIA)
def test_coupled_channels_score_as_the_sum_over_the_members(name: str, images: Tensor) -> None:
    """Readers of one group, scored one by one by other means, then added."""
    torch.manual_seed(0)
    model = build_model("resnet20", 10, 3, 1.0).eval()
    group = trace(model, images[:1]).groups[0]
    samples = Samples(images[:6], torch.arange(6) % 10)
    criterion = CRITERIA[name]
    names = [member.module for member in group.at(Side.IN)]
    assert len(names) > 2
    statistics = list(criterion.statistic(model, names, samples, SETTINGS)) if criterion.statistic else [{}]
    assert len(statistics) == (6 if name == "taylor" else 1)
    expected = torch.zeros(group.units)
    for known, reader in product(statistics, names):
        weight = model.get_submodule(reader).weight.detach()
        statistic = known.get(reader, weight)
        for channel in range(group.units):
            rows = weight[:, channel].reshape(1, -1), statistic[:, channel].reshape(1, -1)
            expected[channel] += criterion.score(*rows)[0]
    (scores,) = score_channels(model, [group], samples, EngineSettings(criterion=name))
    torch.testing.assert_close(scores, expected)


def redundant() -> nn.Sequential:
    """Eight channels, the first four planted, the others weak copies or dead: what they add can do without them."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 1), nn.Conv2d(8, 5, 3), nn.Flatten()).eval()
    with torch.no_grad():
        model[0].weight[3] = torch.randn(3, 1, 1)
        model[0].weight[4:7] = 0.5 * model[0].weight[:3]
        model[0].weight[7] = 0.0
        model[1].weight[:, 4:7] = 0.3 * model[1].weight[:, :3]
    return model


@pytest.mark.parametrize("order", [list(range(8)), [7, 6, 5, 4, 3, 2, 1, 0], [4, 0, 7, 1, 5, 2, 6, 3]])
def test_regression_keeps_the_planted_channels(images: Tensor, order: list[int]) -> None:
    model = redundant()
    with torch.no_grad():
        model[0].weight.copy_(model[0].weight[order].clone())
        model[0].bias.copy_(model[0].bias[order].clone())
        model[1].weight.copy_(model[1].weight[:, order].clone())
    (scores,) = regression(model, trace(model, images[:1]).groups, Samples(images), SETTINGS)
    assert sorted(order[channel] for channel in scores.argsort(descending=True)[:4].tolist()) == [0, 1, 2, 3]
    assert scores[order.index(7)] < 1e-5 * scores.max()


def test_regression_and_least_squares_lose_nothing_to_redundant_channels(images: Tensor) -> None:
    model = redundant()
    settings = EngineSettings(criterion="regression", round_to=1, adaptive_bn=0)
    engine = TorchEngine(model, images[:1], images, metric_scorer(lambda _: 0.5), settings)
    torch.testing.assert_close(engine.prune((0.5,))(images), model(images), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("groups", [1, 2])
def test_the_gram_of_channels_is_that_of_what_they_add(groups: int) -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(8, 6, 3, groups=groups, bias=False)
    inputs = torch.randn(50, 8, 5, 5)
    moments = InputMoments.empty(layer)
    windows = unfold(inputs, 3).transpose(1, 2).flatten(0, 1)
    moments.add(windows.unflatten(1, (groups, -1)).transpose(0, 1))
    added = []
    for channel in range(8):
        alone = torch.zeros_like(inputs)
        alone[:, channel] = inputs[:, channel]
        added.append(layer(alone).detach().double().movedim(1, -1).flatten())
    expected = torch.stack(added) @ torch.stack(added).T / len(windows)
    expected *= torch.block_diag(*[torch.ones(8 // groups, 8 // groups)] * groups).double()
    torch.testing.assert_close(channel_gram(layer, moments), expected, rtol=1e-4, atol=1e-4)


def test_the_path_is_that_of_scikit_learns_lasso() -> None:
    """From samples by coordinate descent there, from their Gram matrix by least angles here."""
    rng = np.random.default_rng(0)
    features = rng.normal(size=(400, 12)) @ rng.normal(size=(12, 12))
    wanted = features @ rng.normal(size=12) + rng.normal(size=400)
    path = lasso_path(features.T @ features / 400, features.T @ wanted / 400)
    for share in (0.7, 0.3, 0.1, 0.01, 0.001):
        penalty = share * path.penalties[0]
        found = [np.interp(penalty, path.penalties[::-1], row[::-1]) for row in path.coefficients]
        exact = Lasso(alpha=penalty, fit_intercept=False, tol=1e-12, max_iter=1_000_000).fit(features, wanted)
        np.testing.assert_allclose(found, exact.coef_, rtol=1e-5, atol=1e-5)
        entered = [value >= penalty for value in _entries(path)]
        assert all(entered[feature] for feature in np.flatnonzero(exact.coef_))


def _entries(path: object) -> list[float]:
    return [
        max(penalty for penalty, value in zip(path.penalties, [*row[1:], 1.0], strict=True) if value)
        for row in path.coefficients
    ]


def test_units_enter_where_they_first_count() -> None:
    scales = torch.tensor([1.0, 3.0, 2.0, 0.0])
    penalties = entry_penalties(torch.diag(scales).double())
    torch.testing.assert_close(penalties, scales.double(), rtol=1e-6, atol=1e-6)
