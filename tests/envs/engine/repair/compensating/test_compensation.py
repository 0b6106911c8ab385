import copy
import math

import torch
from torch import Tensor, nn
from torch.nn.functional import unfold

from envs.engine.network.calls import flatten_outputs
from envs.engine.network.channels import Side, first_units
from envs.engine.pruners.channel_pruner import ChannelPruner
from envs.engine.repair.compensating.compensation import PRIOR, Compensation
from envs.engine.repair.compensating.layer_fit import ROUNDS
from envs.engine.scoring.top1 import metric_scorer
from envs.engine.settings import EngineSettings
from envs.engine.surgery.compaction import kept_channels
from envs.engine.torch_engine import TorchEngine


class Blocks(nn.Module):
    """A residual block, a depthwise and a grouped convolution, with and without batch norm and bias."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.stem_norm = nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.one, self.one_norm = nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.two, self.two_norm = nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8, affine=False)
        self.depthwise = nn.Conv2d(8, 8, 3, stride=2, groups=8)
        self.grouped = nn.Conv2d(8, 6, 1, groups=2, bias=False)
        self.head = nn.Linear(6, 5)

    def forward(self, images: Tensor) -> Tensor:
        stem = self.stem_norm(self.stem(images)).relu()
        total = self.two_norm(self.two(self.one_norm(self.one(stem)).relu())) + stem
        features = self.grouped(self.depthwise(total.relu()).tanh())
        return self.head(features.mean((2, 3)))


IMAGES = torch.randn(40, 3, 9, 9, generator=torch.Generator().manual_seed(2))
"""So few that every place is fitted on, and so nothing is left to chance."""


def make_network() -> nn.Module:
    torch.manual_seed(0)
    network = Blocks()
    for _ in range(30):
        network(IMAGES)
    return network.eval()


def make_engine(model: nn.Module, images: Tensor, repair: str | None, seed: int = 0) -> TorchEngine:
    settings = EngineSettings(round_to=1, repair=repair, adaptive_bn=0, seed=seed)
    return TorchEngine(model, images[:1], images, metric_scorer(lambda _: 0.5), settings)


def slow_fit(
    layer: nn.Module,
    norm: nn.Module | None,
    inputs: Tensor,
    wanted: Tensor,
    other: Tensor | float = 0.0,
    rectified: bool = False,
) -> None:
    """Fit a layer, output by output, by float64 least squares over all pixels, the ridge as further equations."""
    groups = getattr(layer, "groups", 1)
    if isinstance(layer, nn.Conv2d):
        columns = unfold(inputs, layer.kernel_size, layer.dilation, layer.padding, layer.stride).transpose(1, 2)
    else:
        columns = inputs.unsqueeze(1)
    columns = columns.flatten(0, 1).unflatten(1, (groups, -1))
    intercept = isinstance(layer.bias, Tensor) or norm is not None
    before = end_of(layer, norm, inputs) + other
    goal = wanted
    changes: dict[int, Tensor] = {}
    start = layer.weight.detach().clone(), offset_of(layer, norm)
    for fit_round in range(ROUNDS + 1 if rectified else 1):
        if fit_round:
            now = end_of(layer, norm, inputs) + other
            goal = torch.where(wanted > 0, wanted, now.clamp_max(0))
        for channel in range(len(layer.weight)):
            read = columns[:, channel // (len(layer.weight) // groups)]
            slope = 1.0 if norm is None else float(slope_of(norm)[channel])
            error = ((goal - before).movedim(1, -1).reshape(-1, len(layer.weight))[:, channel]) / slope
            ridge = PRIOR / 40 * read.var(0, unbiased=False).mean() if intercept else PRIOR / 40 * read.square().mean()
            extra = math.sqrt(len(read) * ridge) * torch.eye(read.shape[1], dtype=torch.float64)
            if intercept:
                read = torch.cat([read, torch.ones_like(read[:, :1])], 1)
                extra = torch.cat([extra, torch.zeros_like(extra[:, :1])], 1)
            target = torch.cat([error, torch.zeros(len(extra), dtype=torch.float64)])
            changes[channel] = torch.linalg.lstsq(torch.cat([read, extra]), target).solution
        for channel, change in changes.items():
            size = layer.weight[0].numel()
            layer.weight.data[channel] = start[0][channel] + change[:size].view_as(layer.weight[0])
            if intercept:
                set_offset(layer, norm, channel, start[1][channel] + change[size])


def end_of(layer: nn.Module, norm: nn.Module | None, inputs: Tensor) -> Tensor:
    outputs: Tensor = layer(inputs)
    return (outputs if norm is None else norm(outputs)).detach()


def slope_of(norm: nn.Module) -> Tensor:
    weight = norm.weight.detach() if isinstance(norm.weight, Tensor) else 1.0
    return weight / (norm.running_var + norm.eps).sqrt()


def offset_of(layer: nn.Module, norm: nn.Module | None) -> Tensor:
    if isinstance(layer.bias, Tensor):
        return layer.bias.detach().clone()
    return torch.zeros(len(layer.weight)) if norm is None else -norm.running_mean.clone()


def set_offset(layer: nn.Module, norm: nn.Module | None, channel: int, value: Tensor) -> None:
    if isinstance(layer.bias, Tensor):
        layer.bias.data[channel] = value
    elif norm is not None:
        norm.running_mean[channel] = -value


@torch.no_grad()
def slow_repair(dense: nn.Module, small: nn.Module, kept: dict[str, list[int]]) -> None:
    """Walk through the block by hand, the dense network beside the pruned one."""
    images = IMAGES.double()
    stem = dense.stem_norm(dense.stem(images)).relu()
    one = dense.one_norm(dense.one(stem))
    total = dense.two_norm(dense.two(one.relu())) + stem
    depthwise = dense.depthwise(total.relu())
    grouped = dense.grouped(depthwise.tanh())
    small_stem = small.stem_norm(small.stem(images)).relu()
    slow_fit(small.one, small.one_norm, small_stem, one[:, kept["one"]], rectified=True)
    small_one = small.one_norm(small.one(small_stem)).relu()
    slow_fit(small.two, small.two_norm, small_one, total[:, kept["stem"]], small_stem, rectified=True)
    small_total = small.two_norm(small.two(small_one)) + small_stem
    slow_fit(small.depthwise, None, small_total.relu(), depthwise[:, kept["stem"]])
    small_depthwise = small.depthwise(small_total.relu())
    slow_fit(small.grouped, None, small_depthwise.tanh(), grouped[:, kept["grouped"]])
    features = small.grouped(small_depthwise.tanh()).mean((2, 3))
    slow_fit(small.head, None, features, dense.head(grouped.mean((2, 3))))


def test_a_network_equals_one_fitted_by_hand() -> None:
    dense = make_network()
    independent, compensating = (make_engine(dense, IMAGES, repair) for repair in ("independent", "compensating"))
    strategy = (0.5, 0.5, 2 / 3)
    pruner = compensating.pruner
    assert isinstance(pruner, ChannelPruner)
    stay = kept_channels(pruner.graph.groups, list(map(first_units, pruner.ranks, compensating.kept(strategy))))
    kept = {name: stay[name, Side.OUT].tolist() for name in ("stem", "one", "grouped")}
    assert list(map(len, kept.values())) == [4, 4, 4]
    found, expected = compensating.prune(strategy).double(), independent.prune(strategy).double()
    slow_repair(copy.deepcopy(dense).double(), expected, kept)
    for name, tensor in expected.state_dict().items():
        difference = found.state_dict()[name] - tensor
        assert difference.abs().max() <= 1e-3 * tensor.abs().max(), name


def outputs(model: nn.Module, images: Tensor) -> Tensor:
    with torch.no_grad():
        return torch.cat([tensor.flatten(1) for tensor in flatten_outputs(model(images))], 1)


def test_outputs_come_nearer_to_the_dense_network(network: nn.Module) -> None:
    images = torch.randn(64, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    wanted = outputs(network, images)
    errors = []
    for repair in ("independent", "compensating"):
        engine = make_engine(network, images, repair)
        strategy = tuple((0.5, 0.8, 1.0)[step % 3] for step in range(len(engine.layers)))
        errors.append((outputs(engine.prune(strategy), images) - wanted).square().mean().item())
    rounding = 1e-10 * wanted.square().mean().item()  # all that is left where the last layer reads more than images
    assert errors[1] < max(errors[0], rounding)


def test_with_nothing_pruned_nothing_changes(network: nn.Module, images: Tensor) -> None:
    engine = make_engine(network, images, "compensating")
    small = engine.prune(engine.dense_strategy)
    untouched = copy.deepcopy(network)
    pruner = engine.pruner
    assert isinstance(pruner, ChannelPruner)
    Compensation(network, pruner.graph, images, 0).repair(untouched, {})
    for name, tensor in network.state_dict().items():
        assert torch.equal(small.state_dict()[name], tensor), name
        assert torch.equal(untouched.state_dict()[name], tensor), name


def test_places_follow_from_the_seed() -> None:
    network = make_network()
    images = torch.randn(400, 3, 9, 9, generator=torch.Generator().manual_seed(3))
    first, again, other = (
        make_engine(network, images, "compensating", seed).prune((0.5, 0.5, 1.0)).state_dict() for seed in (0, 0, 1)
    )
    assert all(torch.equal(tensor, again[name]) for name, tensor in first.items())
    assert not torch.equal(first["head.weight"], other["head.weight"])


class Twice(nn.Module):
    """A layer that is called twice, and two that share their weight, behind one that is pruned."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(6, 8), nn.Linear(8, 6)
        self.twice, self.one, self.other = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 6)
        self.other.weight = self.one.weight

    def forward(self, features: Tensor) -> Tensor:
        features = self.twice(self.twice(self.second(self.first(features).relu())).relu())
        return self.other(self.one(features).relu())


def test_weights_that_are_used_twice_stay_as_they_are() -> None:
    torch.manual_seed(0)
    network, features = Twice(), torch.randn(50, 6)
    small = make_engine(network, features, "compensating").prune((0.5,))
    for name in ("twice", "one", "other"):
        assert torch.equal(small.get_submodule(name).weight, network.get_submodule(name).weight)
    assert small.second.in_features == 4
    assert small.one.weight is small.other.weight


def test_a_constant_network_is_left_alone() -> None:
    network = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))
    for parameter in network.parameters():
        nn.init.zeros_(parameter)
    small = make_engine(network, torch.randn(20, 4), "compensating").prune((0.5,))
    assert all(not parameter.any() for parameter in small.parameters())


def test_finalists_are_repaired_as_if_all_were_and_candidates_as_if_none_was() -> None:
    """Weight by weight against engines with the one repair for both; the default is the same."""
    for repair in ("finalists", None):
        engines = {name: make_engine(make_network(), IMAGES, name) for name in ("independent", "compensating", repair)}
        strategy = tuple(layer.choices[len(layer.choices) // 2] / layer.units for layer in engines[repair].layers)
        pairs = [
            (engines[repair].prune(strategy), engines["independent"].prune(strategy)),
            (engines[repair].finish(strategy), engines["compensating"].prune(strategy)),
            (engines["independent"].finish(strategy), engines["independent"].prune(strategy)),
            (engines["compensating"].finish(strategy), engines["compensating"].prune(strategy)),
        ]
        for ours, theirs in pairs:
            assert all(
                torch.equal(a, b) for a, b in zip(ours.state_dict().values(), theirs.state_dict().values(), strict=True)
            )
    kinds = [engines["independent"].prune(strategy), engines["compensating"].prune(strategy)]
    assert not torch.equal(kinds[0].head.weight, kinds[1].head.weight)
