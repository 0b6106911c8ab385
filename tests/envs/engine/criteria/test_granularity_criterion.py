"""One suite over the whole table granularity x criterion."""

import copy
import pickle
from collections.abc import Callable, Iterable
from itertools import product
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from amc.weights.export import WEIGHTS_FILE, weights_bytes
from amc.weights.loading import load
from amc.weights.metadata import Header
from envs.engine.choices import ANY_GRANULARITY, CHANNELS_ONLY, SMALLER, UNITS, check_combination
from envs.engine.criteria.channels import CHANNEL_CRITERIA
from envs.engine.criteria.weights import CRITERIA
from envs.engine.scoring.top1 import metric_scorer
from envs.engine.settings import EngineSettings
from envs.engine.surgery.granularity import GRANULARITIES
from envs.engine.surgery.masking import masks
from envs.engine.torch_engine import PRUNERS, TorchEngine

ALL_CRITERIA = (*ANY_GRANULARITY, *CHANNELS_ONLY)
MASKED = tuple(GRANULARITIES)
RANKED = ("channel", *MASKED)
MEANINGFUL = [
    (granularity, criterion)
    for granularity, criterion in product(RANKED, ALL_CRITERIA)
    if granularity == "channel" or criterion in ANY_GRANULARITY
]
WITHOUT = list(product(("block", *MASKED), CHANNELS_ONLY))
OPTIMIZERS: dict[str, Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]] = {
    "sgd": lambda parameters: torch.optim.SGD(parameters, lr=0.05, momentum=0.9, nesterov=True, weight_decay=1e-2),
    "adamw": lambda parameters: torch.optim.AdamW(parameters, lr=1e-2, weight_decay=1e-2),
}


class SmallNet(nn.Module):
    """A residual pair, a depthwise and a grouped convolution, and rows that no vector and no four divides."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.branch, self.branch_norm = nn.Conv2d(8, 8, (1, 3), padding=(0, 1)), nn.BatchNorm2d(8)
        self.depthwise, self.depthwise_norm = nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.BatchNorm2d(8)
        self.grouped, self.grouped_norm = nn.Conv2d(8, 12, 1, groups=2), nn.BatchNorm2d(12)
        self.head = nn.Linear(12 * 4, 5)

    def forward(self, images: Tensor) -> Tensor:
        features = self.norm(self.stem(images)).relu()
        features = (features + self.branch_norm(self.branch(features))).relu()
        features = self.depthwise_norm(self.depthwise(features)).relu()
        features = self.grouped_norm(self.grouped(features)).relu()
        return self.head(nn.functional.adaptive_avg_pool2d(features, 2).flatten(1))


@pytest.fixture(scope="module")
def net() -> nn.Module:
    torch.manual_seed(0)
    network = SmallNet()
    for norm in network.modules():
        if isinstance(norm, nn.BatchNorm2d):
            nn.init.normal_(norm.bias)
            nn.init.uniform_(norm.weight, 0.5, 1.5)
    return network.eval()


@pytest.fixture(scope="module")
def data() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(24, 3, 8, 8, generator=generator), torch.randint(0, 5, (24,), generator=generator)


def make_engine(
    net: nn.Module, data: tuple[Tensor, Tensor], granularity: str, criterion: str, reconstruct: bool = True
) -> TorchEngine:
    settings = EngineSettings(granularity=granularity, criterion=criterion, reconstruct=reconstruct, adaptive_bn=8)
    return TorchEngine(net, data[0][:1], data[0], metric_scorer(lambda _: 0.5), settings, data[1])


def zeros(model: nn.Module) -> dict[str, Tensor]:
    return {name: weight == 0 for name, weight in model.named_parameters() if weight.ndim > 1}


def train(model: nn.Module, data: tuple[Tensor, Tensor], optimizer: str, steps: int = 50) -> None:
    model.train()
    stepper = OPTIMIZERS[optimizer](model.parameters())
    for _ in range(steps):
        stepper.zero_grad()
        cross_entropy(model(data[0]), data[1]).backward()
        stepper.step()
    model.eval()


def test_every_name_is_in_every_table() -> None:
    assert tuple(CRITERIA) == ANY_GRANULARITY
    assert tuple(CHANNEL_CRITERIA) == CHANNELS_ONLY
    assert set(UNITS) == {*SMALLER, *GRANULARITIES} == set(PRUNERS)


@pytest.mark.parametrize(("granularity", "criterion"), MEANINGFUL)
def test_exactly_the_asked_share_is_kept(
    net: nn.Module, data: tuple[Tensor, Tensor], granularity: str, criterion: str
) -> None:
    engine = make_engine(net, data, granularity, criterion)
    for wanted in (0.3, 0.5, 1.0):
        strategy = tuple(layer.executed(wanted) for layer in engine.layers)
        kept, pruned = engine.kept(strategy), engine.prune(strategy)
        assert pruned(data[0]).shape == (24, 5)
        assert pruned(data[0]).isfinite().all()
        cost = engine.cost(strategy)
        assert cost.params == sum(int((parameter != 0).sum()) for parameter in pruned.parameters())
        if granularity == "channel":
            left = [inputs_of(pruned, layer.name) / inputs_of(net, layer.name) for layer in engine.layers]
            assert left == [count / layer.units for layer, count in zip(engine.layers, kept, strict=True)]
            continue
        for layer, count in zip(engine.layers, kept, strict=True):
            weight = pruned.get_submodule(layer.name).weight
            assert weight.shape == net.get_submodule(layer.name).weight.shape
            assert units_left(granularity, weight) == count
        assert len(masks(pruned)) == sum(count < layer.units for layer, count in zip(engine.layers, kept, strict=True))


def inputs_of(model: nn.Module, name: str) -> int:
    """Count the input channels that a layer's weight is made for."""
    layer = model.get_submodule(name)
    weight = layer.weight
    assert isinstance(weight, Tensor)
    return weight.shape[1] * layer.groups if isinstance(layer, nn.Conv2d) else weight.shape[1]


def units_left(granularity: str, weight: Tensor) -> int:
    """Count the units that are not all zero, by other means than the engine's."""
    if granularity == "element":
        return int(weight.count_nonzero())
    if granularity == "kernel":
        return int(weight.flatten(2).any(2).sum()) if weight.ndim > 2 else int(weight.count_nonzero())
    if granularity == "vector":
        if weight.ndim > 2 and weight.shape[-1] > 1:
            return int(weight.any(-1).sum())
        return sum(
            int(row[:, first : first + 4].any())
            for row in weight.flatten(1).split(1)
            for first in range(0, row.shape[1], 4)
        )
    groups = [row[first : first + 4] for row in weight.flatten(1) for first in range(0, len(row), 4)]
    full = {int(group.count_nonzero()) for group in groups if len(group) == 4}
    most = max(full) if full else max(int(group.count_nonzero()) for group in groups)
    assert full <= {most}
    assert all(int(group.count_nonzero()) == min(len(group), most) for group in groups)
    return most


@pytest.mark.parametrize(("granularity", "criterion"), MEANINGFUL)
def test_the_same_units_go_every_time(
    net: nn.Module, data: tuple[Tensor, Tensor], granularity: str, criterion: str
) -> None:
    strategy = (0.5,) * len(make_engine(net, data, granularity, criterion).layers)
    first, second = (make_engine(net, data, granularity, criterion).prune(strategy) for _ in range(2))
    for name, weight in first.state_dict().items():
        assert torch.equal(weight, second.state_dict()[name]), name


@pytest.mark.parametrize("granularity", MASKED)
@pytest.mark.parametrize("criterion", ["l1", "l2", "obd", "taylor"])
def test_of_equal_units_the_first_stay(data: tuple[Tensor, Tensor], granularity: str, criterion: str) -> None:
    flat = nn.Sequential(nn.Flatten(), nn.Linear(3 * 64, 6, bias=False)).eval()
    nn.init.ones_(flat[1].weight)
    same = (torch.ones_like(data[0]), torch.full_like(data[1], 2))
    engine = make_engine(flat, same, granularity, criterion, reconstruct=False)
    weight = engine.prune((0.5,)).get_submodule("1").weight
    if granularity == "n_m":
        assert torch.equal(weight, torch.tensor([1.0, 1.0, 0.0, 0.0]).repeat(6, 48))
    elif criterion in ("l1", "l2"):
        assert torch.equal(weight != 0, (torch.arange(6) < 3).unsqueeze(1).expand(6, 192))
    else:
        kept = (weight != 0).sum(1)
        assert (kept[2], int(kept.sum())) == (192, 576)  # the row of the label has the largest gradient


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("granularity", MASKED)
def test_zeros_stay_through_training_and_a_file(
    net: nn.Module, data: tuple[Tensor, Tensor], granularity: str, optimizer: str, tmp_path: Path
) -> None:
    engine = make_engine(net, data, granularity, "l1")
    pruned = engine.prune((0.4,) * len(engine.layers))
    gone = zeros(pruned)
    assert any(where.any() for where in gone.values())
    tuned = copy.deepcopy(pruned)
    train(tuned, data, optimizer)
    for name, where in zeros(tuned).items():
        assert torch.equal(where, gone[name]), name
    assert all(not torch.equal(a, b) for a, b in zip(tuned.parameters(), pruned.parameters(), strict=True))
    for again in (copy.deepcopy(tuned), pickle.loads(pickle.dumps(tuned))):  # noqa: S301
        train(again, data, "sgd", 3)
        assert all(torch.equal(where, gone[name]) for name, where in zeros(again).items())

    (tmp_path / WEIGHTS_FILE).write_bytes(weights_bytes(tuned, Header((1, 3, 8, 8))))
    loaded = load(tmp_path, model=net)
    assert loaded.state_dict().keys() == net.state_dict().keys()
    assert all(torch.equal(where, gone[name]) for name, where in zeros(loaded).items())
    torch.testing.assert_close(loaded(data[0]), tuned(data[0]), rtol=0, atol=0)


@pytest.mark.parametrize("granularity", MASKED)
def test_folding_changes_nothing_but_the_modules(net: nn.Module, data: tuple[Tensor, Tensor], granularity: str) -> None:
    engine = make_engine(net, data, granularity, "l1")
    pruned = engine.prune((0.5,) * len(engine.layers))
    folded = engine.pruner.for_inference(pruned)
    assert isinstance(folded.norm, nn.Identity)
    assert masks(pruned)
    assert not masks(folded)
    # A channel whose kernels all went has no variance, and its norm multiplies rounding errors by 300.
    torch.testing.assert_close(folded(data[0]), pruned(data[0]), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(("granularity", "criterion"), WITHOUT)
def test_a_combination_without_meaning_is_refused_in_one_line(granularity: str, criterion: str) -> None:
    with pytest.raises(ValueError, match=f"granularity={granularity} goes with l1, l2, obd") as refused:
        EngineSettings(granularity=granularity, criterion=criterion)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(("granularity", "criterion"), [("channels", "l1"), ("element", "L1")])
def test_unknown_names_are_refused(granularity: str, criterion: str) -> None:
    with pytest.raises(ValueError, match="choose one of"):
        check_combination(granularity, criterion)


@pytest.mark.parametrize("granularity", ["channel", "kernel"])
def test_the_curvature_may_be_hutchinsons(net: nn.Module, data: tuple[Tensor, Tensor], granularity: str) -> None:
    settings = EngineSettings(granularity=granularity, criterion="obd", curvature="hutchinson", seed=3)
    first, second = (
        TorchEngine(net, data[0][:1], data[0], metric_scorer(lambda _: 0.5), settings, data[1]) for _ in range(2)
    )
    strategy = (0.5,) * len(first.layers)
    pruned, again = first.prune(strategy).state_dict(), second.prune(strategy).state_dict()
    assert all(torch.equal(tensor, again[name]) for name, tensor in pruned.items())
    fisher = make_engine(net, data, granularity, "obd").prune(strategy).state_dict()
    assert any(tensor.shape != fisher[name].shape or not tensor.equal(fisher[name]) for name, tensor in pruned.items())


@pytest.mark.parametrize("granularity", ["channel", "element"])
@pytest.mark.parametrize("criterion", ["obd", "taylor"])
def test_gradients_need_labels(net: nn.Module, data: tuple[Tensor, Tensor], granularity: str, criterion: str) -> None:
    with pytest.raises(ValueError, match=r"calibration has to be pairs \(inputs, targets\)"):
        make_engine(net, (data[0], None), granularity, criterion)
    with pytest.raises(ValueError, match="24 calibration inputs but 3 labels"):
        make_engine(net, (data[0], data[1][:3]), granularity, criterion)
