from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import unfold

from envs.engine.network.channels import GroupMember, Side
from envs.engine.network.modules import blocks_of
from envs.engine.repair.adaptive_bn import recalibrate_batch_norms
from envs.engine.repair.calibration import InputMoments, collect_moments, points_needed, sample_inputs
from envs.engine.repair.layer_solver import RIDGE, cholesky_with_ridge
from envs.engine.repair.least_squares import LayerSolver, Reader

IMAGES = 300
LAYERS: dict[str, Callable[[], nn.Module]] = {
    "1x1": lambda: nn.Conv2d(8, 6, 1),
    "3x3 strided": lambda: nn.Conv2d(8, 6, 3, stride=2, padding=1),
    "3x3 without bias": lambda: nn.Conv2d(8, 6, 3, padding=2, dilation=2, bias=False),
    "grouped": lambda: nn.Conv2d(8, 6, 3, padding=1, groups=2),
    "linear": lambda: nn.Linear(8, 6),
}
EVERYTHING = 10_000


def layer_inputs(module: nn.Module) -> Tensor:
    """Correlated inputs of non-zero mean: what goes can partly be told from what stays."""
    generator = torch.Generator().manual_seed(1)
    shape = (IMAGES, 4) if isinstance(module, nn.Linear) else (IMAGES, 4, 6, 6)
    hidden = torch.randn(shape, generator=generator)
    mix = torch.randn(8, 4, generator=generator)
    mixed = torch.einsum("oc,nc...->no...", mix, hidden)
    return mixed + 0.5 * torch.randn(mixed.shape, generator=generator) + 1.0


def plain_columns(module: nn.Module, inputs: Tensor) -> Tensor:
    """Every window of a layer, by torch's own im2col: (blocks, samples, columns)."""
    if isinstance(module, nn.Linear):
        return inputs.unsqueeze(0)
    columns = unfold(inputs, module.kernel_size, module.dilation, module.padding, module.stride)
    return columns.transpose(1, 2).flatten(0, 1).unflatten(1, (blocks_of(module), -1)).transpose(0, 1)


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize(("kept", "wide"), [(1, False), (3, False), (3, True)])
def test_solution_equals_plain_least_squares(kind: str, kept: int, wide: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if wide:
        monkeypatch.setattr("envs.engine.repair.layer_solver.WIDE", 0)
    torch.manual_seed(0)
    module = LAYERS[kind]()
    inputs, blocks = layer_inputs(module), blocks_of(module)
    units = 8 // blocks
    rank = torch.randperm(units)
    member = GroupMember("layer", Side.IN, torch.arange(units).repeat(blocks))
    moments = InputMoments.empty(module)
    for batch in inputs.split(100):
        moments.add(sample_inputs(module, batch, EVERYTHING, torch.Generator().manual_seed(0)))
    intercept = module.bias is not None
    found = LayerSolver(module, Reader((0,), (member,), (rank,)), moments, intercept).solve((kept,))

    columns = plain_columns(module, inputs).double()
    kernel = module.weight[0, 0].numel()
    stay = rank[:kept].sort().values
    chosen = (stay.unsqueeze(1) * kernel + torch.arange(kernel)).flatten()
    weight = module.weight.detach().double().flatten(1).unflatten(0, (blocks, -1))
    wanted = columns @ weight.transpose(1, 2)
    readable = columns[:, :, chosen]
    if intercept:
        readable = torch.cat([readable, torch.ones_like(readable[:, :, :1])], 2)
    solved = torch.linalg.lstsq(readable, wanted).solution.transpose(1, 2)
    expected = solved[:, :, : len(chosen)].reshape(found.weight.shape)
    torch.testing.assert_close(found.weight.double(), expected, atol=1e-4, rtol=1e-4)
    if intercept:
        assert found.shift is not None
        torch.testing.assert_close(found.shift.double(), solved[:, :, -1].flatten(), atol=1e-3, rtol=1e-3)
    else:
        assert found.shift is None


def test_layer_behind_a_concatenation_equals_plain_least_squares() -> None:
    torch.manual_seed(0)
    module = nn.Linear(8, 6)
    inputs = layer_inputs(module)
    left = GroupMember("layer", Side.IN, torch.tensor([0, 1, 2, -1, -1, -1, -1, -1]))
    right = GroupMember("layer", Side.IN, torch.tensor([-1, -1, -1, 0, 1, 2, 3, 4]))
    ranks = (torch.tensor([2, 0, 1]), torch.tensor([1, 4, 0, 2, 3]))
    moments = InputMoments.empty(module)
    moments.add(inputs.unsqueeze(0))
    found = LayerSolver(module, Reader((0, 1), (left, right), ranks), moments, intercept=True).solve((2, 2))
    stay = [0, 2, 4, 7]  # units 2 and 0 of the left, 1 and 4 of the right
    readable = torch.cat([inputs[:, stay], torch.ones(IMAGES, 1)], 1)
    expected = torch.linalg.lstsq(readable.double(), (inputs @ module.weight.T).double()).solution.T
    torch.testing.assert_close(found.weight.double(), expected[:, :4].detach(), atol=1e-4, rtol=1e-4)


def test_ridge_grows_until_redundant_inputs_can_be_factored() -> None:
    rows = torch.randn(3, 8, dtype=torch.float64)
    gram = (rows.T @ rows).unsqueeze(0) - 1e-4 * torch.eye(8, dtype=torch.float64)
    factor, ridge = cholesky_with_ridge(gram.clone)
    assert ridge.item() > RIDGE * gram.diagonal(dim1=1, dim2=2).mean().item()
    torch.testing.assert_close(factor @ factor.transpose(1, 2), gram + ridge * torch.eye(8, dtype=torch.float64))


def test_adaptive_batch_norm_measures_the_statistics() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)).eval()
    images = torch.randn(40, 3, 5, 5)
    recalibrate_batch_norms(model, images, batch_size=20)
    features = model[0](images)
    torch.testing.assert_close(model[1].running_mean, features.mean((0, 2, 3)))
    expected = torch.stack([half.var((0, 2, 3)) for half in features.split(20)]).mean(0)
    torch.testing.assert_close(model[1].running_var, expected)
    assert not model[1].training
    assert model[1].momentum == 0.1


@pytest.mark.parametrize("stripe", [1, 3, 8, 100])
@pytest.mark.parametrize("kind", ["grouped", "linear"])
def test_moments_equal_those_of_all_samples_at_once(kind: str, stripe: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("envs.engine.repair.calibration.STRIPE", stripe)
    module = LAYERS[kind]()
    inputs = layer_inputs(module)
    moments = InputMoments.empty(module)
    for batch in inputs.split(70):
        moments.add(sample_inputs(module, batch, EVERYTHING, torch.Generator().manual_seed(0)))
    columns = plain_columns(module, inputs).double()
    expected = torch.stack([block.T.cov(correction=0) for block in columns])
    torch.testing.assert_close(moments.second_moment(centered=True), expected, atol=1e-4, rtol=1e-5)
    torch.testing.assert_close(
        moments.second_moment(centered=False),
        columns.transpose(1, 2) @ columns / columns.shape[1],
        atol=1e-4,
        rtol=1e-5,
    )


@pytest.mark.parametrize("stripe", [3, 100])
@pytest.mark.parametrize("kind", ["grouped", "linear"])
def test_moments_in_another_order_are_the_same_ones(kind: str, stripe: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("envs.engine.repair.calibration.STRIPE", stripe)
    module = LAYERS[kind]()
    columns = module.weight[0].numel()
    order = torch.randperm(columns, generator=torch.Generator().manual_seed(2))
    plain, ordered = InputMoments.empty(module), InputMoments.empty(module, order)
    for moments in (plain, ordered):
        moments.add(sample_inputs(module, layer_inputs(module), EVERYTHING, torch.Generator().manual_seed(0)))
    assert torch.equal(ordered.mean, plain.mean)
    for centered in (True, False):
        expected = plain.second_moment(centered)[:, order.unsqueeze(1), order]
        torch.testing.assert_close(ordered.second_moment(centered), expected, atol=1e-5, rtol=1e-5)


def test_stripes_take_about_half_of_what_the_matrix_does() -> None:
    moments = InputMoments.empty(nn.Linear(5000, 2))
    assert sum(stripe.numel() for stripe in moments.stripes) < 0.56 * 5000**2


def test_with_many_images_layers_see_no_more_samples_than_they_need_and_every_image() -> None:
    assert points_needed(columns=64, images=1000) == 10  # as ever
    assert points_needed(columns=64, images=3000) == 4
    assert points_needed(columns=4608, images=3000) == 7
    assert points_needed(columns=4608, images=100) == 10
    assert points_needed(columns=8, images=10**6) == 1
    module = nn.Conv2d(2, 3, 1).eval()
    images = torch.randn(6000, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    assert collect_moments(module, [""], images, seed=0)[""].count == 6000 * 2
