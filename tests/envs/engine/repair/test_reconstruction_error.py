"""The reference runs plain least squares on the very samples, once for every number of kept channels."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import unfold

from envs.engine.network.channels import GroupMember, Side
from envs.engine.network.modules import blocks_of
from envs.engine.repair.calibration import InputMoments
from envs.engine.repair.least_squares import LayerSolver, Reader
from envs.engine.repair.reconstruction_error import unrepaired_share
from envs.engine.settings import EngineSettings
from envs.engine.torch_engine import TorchEngine
from envs.engine.types import Evaluation, KnowsReconstructionError

SAMPLES = 400
LAYERS: dict[str, Callable[[], nn.Module]] = {
    "1x1": lambda: nn.Conv2d(8, 6, 1),
    "3x3 strided": lambda: nn.Conv2d(8, 6, 3, stride=2, padding=1),
    "3x3 without bias": lambda: nn.Conv2d(8, 6, 3, padding=1, bias=False),
    "grouped": lambda: nn.Conv2d(8, 6, 3, padding=1, groups=2),
    "linear": lambda: nn.Linear(8, 6),
}


def correlated(*shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    hidden = torch.randn(shape[0], 4, *shape[2:], generator=generator)
    mixed = torch.einsum("oc,nc...->no...", torch.randn(shape[1], 4, generator=generator), hidden)
    return mixed + 0.5 * torch.randn(mixed.shape, generator=generator) + 1.0


def columns_of(module: nn.Module, inputs: Tensor) -> Tensor:
    """Every window of a layer: (blocks, samples, columns)."""
    if isinstance(module, nn.Linear):
        return inputs.unsqueeze(0)
    columns = unfold(inputs, module.kernel_size, module.dilation, module.padding, module.stride)
    return columns.transpose(1, 2).flatten(0, 1).unflatten(1, (blocks_of(module), -1)).transpose(0, 1)


def lost_share(module: nn.Module, columns: Tensor, stay: Tensor) -> float:
    """What lstsq leaves of the outputs' energy, about the mean where the layer has a bias."""
    weight = module.weight.detach().double().flatten(1).unflatten(0, (blocks_of(module), -1))
    columns = columns.double()
    if module.bias is not None:
        columns = columns - columns.mean(1, keepdim=True)
    wanted = columns @ weight.transpose(1, 2)
    readable = columns[:, :, stay]
    left = wanted - readable @ torch.linalg.lstsq(readable, wanted).solution if len(stay) else wanted
    return (left.square().sum() / wanted.square().sum()).item()


def make_solver(module: nn.Module, columns: Tensor, reader: Reader) -> LayerSolver:
    moments = InputMoments.empty(module)
    moments.add(columns)
    return LayerSolver(module, reader, moments, intercept=module.bias is not None)


@pytest.mark.parametrize("kind", LAYERS)
def test_errors_equal_the_residuals_of_plain_least_squares(kind: str) -> None:
    torch.manual_seed(0)
    module = LAYERS[kind]()
    shape = (SAMPLES, 8) if isinstance(module, nn.Linear) else (SAMPLES // 10, 8, 6, 6)
    columns, units = columns_of(module, correlated(*shape)), 8 // blocks_of(module)
    rank = torch.randperm(units)
    member = GroupMember("layer", Side.IN, torch.arange(units).repeat(blocks_of(module)))
    errors = make_solver(module, columns, Reader((5,), (member,), (rank,))).errors(5)
    kernel = module.weight[0, 0].numel()
    for kept in range(units + 1):
        stay = (rank[:kept].unsqueeze(1) * kernel + torch.arange(kernel)).flatten()
        assert errors[kept].item() == pytest.approx(lost_share(module, columns, stay), abs=1e-5)


def test_units_of_several_columns_and_columns_that_always_stay() -> None:
    """As behind a flatten, with features of another branch beside it."""
    torch.manual_seed(0)
    module = nn.Linear(10, 6)
    unit = torch.tensor([0, 0, 1, 1, -1, 2, 2, 3, 3, -1])
    rank = torch.tensor([2, 0, 3, 1])
    columns = correlated(SAMPLES, 10).unsqueeze(0)
    errors = make_solver(module, columns, Reader((0,), (GroupMember("layer", Side.IN, unit),), (rank,))).errors(0)
    for kept in range(5):
        stay = torch.tensor([column for column in range(10) if unit[column] < 0 or unit[column] in rank[:kept]])
        expected = lost_share(module, columns, stay) / lost_share(module, columns, torch.tensor([], dtype=torch.int64))
        assert errors[kept].item() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("entry", [0, 1])
def test_behind_a_concatenation_the_other_group_is_whole(entry: int) -> None:
    torch.manual_seed(0)
    module = nn.Linear(8, 6)
    units = (torch.tensor([0, 1, 2, -1, -1, -1, -1, -1]), torch.tensor([-1, -1, -1, 0, 1, 2, 3, 4]))
    ranks = (torch.tensor([2, 0, 1]), torch.tensor([1, 4, 0, 2, 3]))
    members = tuple(GroupMember("layer", Side.IN, unit) for unit in units)
    columns = correlated(SAMPLES, 8).unsqueeze(0)
    errors = make_solver(module, columns, Reader((3, 7), members, ranks)).errors((3, 7)[entry])
    for kept in range(len(ranks[entry]) + 1):
        unit, left = units[entry], ranks[entry][:kept]
        stay = torch.tensor([column for column in range(8) if unit[column] < 0 or unit[column] in left])
        assert errors[kept].item() == pytest.approx(lost_share(module, columns, stay), abs=1e-5)


def test_a_layer_whose_outputs_are_constant_loses_nothing() -> None:
    module = nn.Linear(4, 3)
    nn.init.zeros_(module.weight)
    member = GroupMember("layer", Side.IN, torch.arange(4))
    errors = make_solver(module, correlated(50, 4).unsqueeze(0), Reader((0,), (member,), (torch.arange(4),))).errors(0)
    assert errors.tolist() == [0.0] * 5


def test_a_transposed_convolution_counts_its_squared_weights() -> None:
    module = nn.ConvTranspose2d(3, 2, 2)
    energy = module.weight.detach().square().sum((1, 2, 3)).tolist()
    found = unrepaired_share(module, GroupMember("layer", Side.IN, torch.tensor([1, 0, -1])), torch.tensor([1, 0]))
    expected = [energy[0] + energy[1], energy[1], 0.0]  # channel 2 always stays
    assert found.tolist() == pytest.approx([lost / sum(energy) for lost in expected])


class Residual(nn.Module):
    """The stem's channels are read by two convolutions and, past their sum, by the head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.inner = nn.Conv2d(8, 12, 1)
        self.outer = nn.Conv2d(12, 8, 3, padding=1)
        self.head = nn.Linear(8, 4)

    def forward(self, images: Tensor) -> Tensor:
        x = self.stem(images)
        x = x + self.outer(self.inner(x).relu())
        return self.head(x.mean((2, 3)))


def make_engine(reconstruct: bool = True) -> TorchEngine:
    torch.manual_seed(0)
    images = torch.randn(60, 3, 3, 3)
    settings = EngineSettings(reconstruct=reconstruct, round_to=1)
    return TorchEngine(Residual(), images[:1], images, lambda _: Evaluation(0.5, 0.5, 1), settings)


def test_readers_of_one_group_add_up() -> None:
    engine = make_engine()
    assert isinstance(engine, KnowsReconstructionError)
    seen: dict[str, list[Tensor]] = {"inner": [], "outer": [], "head": []}
    for name in seen:
        engine.model.get_submodule(name).register_forward_pre_hook(
            lambda _, args, name=name: seen[name].append(args[0])
        )
    torch.manual_seed(0)
    engine.model(torch.randn(60, 3, 3, 3))
    for step, layer in enumerate(engine.layers):
        names = ["outer"] if layer.units == 12 else ["inner", "head"]
        rank = engine.pruner.ranks[step]
        for choice, error in zip(layer.choices, engine.reconstruction_error(step), strict=True):
            expected = 0.0
            for name in names:
                module = engine.model.get_submodule(name)
                kernel = module.weight[0, 0].numel()
                stay = (rank[:choice].unsqueeze(1) * kernel + torch.arange(kernel)).flatten()
                expected += lost_share(module, columns_of(module, seen[name][0].detach()), stay)
            assert error == pytest.approx(expected, abs=1e-4)


def test_without_repair_the_error_is_unknown() -> None:
    with pytest.raises(ValueError, match="reconstruct=false"):
        make_engine(reconstruct=False).reconstruction_error(0)
