"""Masks against torch's own pruning, costs against counts of what is there."""

from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import prune
from torch.utils.flop_counter import FlopCounterMode

from envs.engine.errors import GraphError
from envs.engine.network.samples import Samples
from envs.engine.network.weight_matrix import as_matrix, from_matrix
from envs.engine.pruners.mask_pruner import MaskPruner
from envs.engine.pruners.pruned_weight import unit_choices
from envs.engine.settings import EngineSettings
from envs.engine.surgery.granularity import Cut

IMAGES = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def make_pruner(
    model: nn.Module, granularity: str, criterion: str = "l1", images: Tensor = IMAGES, **more: int
) -> MaskPruner:
    settings = EngineSettings(granularity=granularity, criterion=criterion, reconstruct=False, **more)
    return MaskPruner(model.eval(), images[:1], Samples(images), settings)


def convolutions() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.ConvTranspose2d(8, 6, 2, stride=2, groups=2),
        nn.Flatten(),
        nn.Linear(6 * 256, 5),
    )


@pytest.mark.parametrize("criterion", ["l1", "l2"])
def test_elements_are_those_that_torch_prunes(criterion: str) -> None:
    model = convolutions()
    pruner = make_pruner(model, "element", criterion)
    kept = [layer.choices[len(layer.choices) // 3] for layer in pruner.layers]
    pruned = pruner.prune(kept)
    for layer, count in zip(pruner.layers, kept, strict=True):
        reference = prune.l1_unstructured(model.get_submodule(layer.name), "weight", layer.units - count)
        assert torch.equal(pruned.get_submodule(layer.name).weight, reference.weight)


@pytest.mark.parametrize(("granularity", "group"), [("element", None), ("kernel", None), ("n_m", 4)])
def test_scores_are_those_of_units_from_the_best_on(granularity: str, group: int | None) -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(4, 6, (2, 3))
    weight = layer.weight.detach().abs()
    by_hand = weight.sum((2, 3)).flatten() if granularity == "kernel" else weight.flatten()
    groups = by_hand.reshape(-1, group or len(by_hand)).sort(dim=1, descending=True).values
    found = make_pruner(layer, granularity, "l1", torch.randn(2, 4, 8, 8)).unit_scores(0)
    torch.testing.assert_close(torch.tensor(found), groups.mean(0))


@pytest.mark.parametrize(("criterion", "norm"), [("l1", 1), ("l2", 2)])
@pytest.mark.parametrize("granularity", ["kernel", "vector", "n_m"])
def test_units_are_those_that_torch_prunes(granularity: str, criterion: str, norm: int) -> None:
    """torch prunes rows of a matrix: the units, laid out by hand as rows."""
    torch.manual_seed(0)
    layer = nn.Conv2d(4, 6, (2, 3))
    pruner = make_pruner(layer, granularity, criterion, torch.randn(2, 4, 8, 8))
    weight = layer.weight.detach().clone()
    if granularity == "n_m":
        kept, groups = 2, weight.reshape(-1, 4)
        masks = [prune.l1_unstructured(rows_of(group.unsqueeze(1)), "weight", 2).weight_mask for group in groups]
        expected = torch.stack(masks).reshape(weight.shape)
    else:
        rows = weight.reshape(24, 6) if granularity == "kernel" else weight.reshape(48, 3)
        kept = 9
        mask = prune.ln_structured(rows_of(rows), "weight", len(rows) - kept, n=norm, dim=0).weight_mask
        expected = mask.reshape(weight.shape)
    assert torch.equal(pruner.prune([kept]).weight != 0, expected.bool())


def rows_of(matrix: Tensor) -> nn.Linear:
    layer = nn.Linear(matrix.shape[1], matrix.shape[0], bias=False)
    layer.weight = nn.Parameter(matrix.clone())
    return layer


def test_linear_vectors_are_blocks_of_inputs() -> None:
    layer = nn.Linear(7, 2, bias=False)
    layer.weight = nn.Parameter(torch.tensor([[1.0, 1, 1, 9, 0, 0, 2], [0, 0, 0, 5, 5, 5, 4]]))
    pruner = make_pruner(layer, "vector", images=torch.randn(2, 7), vector_size=3)
    assert pruner.layers[0].units == 6
    expected = torch.tensor([[0.0, 0, 0, 9, 0, 0, 0], [0, 0, 0, 5, 5, 5, 4]])
    assert torch.equal(pruner.prune([3]).weight, expected)
    # Three float32 units of 3 + 3 + 1 weights, 16-bit indices, three 32-bit pointers; or 14 weights as they are.
    assert pruner.cost([3]).memory == min(7 * 4 + 3 * 2 + 3 * 4, 14 * 4)
    assert pruner.cost([1]).memory == 3 * 4 + 1 * 2 + 3 * 4
    assert pruner.cost([6]).memory == 14 * 4


@pytest.mark.parametrize(("m", "kept", "bits"), [(4, 2, 2), (4, 1, 2), (8, 3, 3), (2, 1, 1)])
def test_n_of_m_is_stored_as_values_and_places(m: int, kept: int, bits: int) -> None:
    pruner = make_pruner(nn.Linear(16, 3, bias=False), "n_m", images=torch.randn(2, 16), m=m)
    values = 3 * 16 // m * kept
    cost = pruner.cost([kept])
    assert (pruner.layers[0].units, cost.params, cost.flops) == (m, values, values)
    assert cost.memory == values * 4 + -(-values * bits // 8)


def test_a_short_group_keeps_as_many_or_all() -> None:
    layer = nn.Linear(6, 1, bias=False)
    layer.weight = nn.Parameter(torch.tensor([[1.0, 4, 3, 2, 6, 5]]))
    pruner = make_pruner(layer, "n_m", images=torch.randn(2, 6))
    assert torch.equal(pruner.prune([1]).weight, torch.tensor([[0.0, 4, 0, 0, 6, 0]]))
    assert torch.equal(pruner.prune([3]).weight, torch.tensor([[0.0, 4, 3, 2, 6, 5]]))
    assert [pruner.cost([kept]).params for kept in (1, 2, 3, 4)] == [2, 4, 5, 6]


def test_costs_are_for_one_sample_however_many_the_example_has() -> None:
    settings = EngineSettings(granularity="element")
    one, four = (MaskPruner(convolutions().eval(), IMAGES[:count], Samples(IMAGES), settings) for count in (1, 4))
    kept = [layer.choices[0] for layer in one.layers]
    assert four.cost(kept) == one.cost(kept)
    assert four.layers == one.layers


@pytest.mark.parametrize("granularity", ["element", "vector", "kernel", "n_m"])
def test_dense_costs_equal_an_independent_counter(granularity: str) -> None:
    model = convolutions()
    pruner = make_pruner(model, granularity)
    with FlopCounterMode(display=False) as counter:
        model(IMAGES[:1])
    cost = pruner.cost([layer.units for layer in pruner.layers])
    assert cost.flops == counter.get_total_flops() / 2
    assert cost.params == sum(parameter.numel() for parameter in model.parameters())
    assert cost.memory == 4 * (cost.params + 16)  # and the running statistics of eight channels
    for step, layer in enumerate(pruner.layers):
        kept = [layer.units for layer in pruner.layers]
        costs = [pruner.cost([*kept[:step], choice, *kept[step + 1 :]]) for choice in layer.choices]
        for fewer, more in pairwise(costs):
            assert fewer.flops < more.flops
            assert fewer.params < more.params
            assert fewer.memory <= more.memory


class Tied(nn.Module):
    """An autoencoder whose decoder is its encoder transposed in use, and a layer called twice."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(6, 6), nn.Linear(6, 6)
        self.second.weight = self.first.weight
        self.twice, self.unused = nn.Linear(6, 6), nn.Linear(6, 2)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.second(self.twice(self.twice(self.first(inputs))))


def test_a_shared_weight_is_pruned_once_and_counts_in_every_call() -> None:
    pruner = make_pruner(Tied(), "element", images=torch.randn(2, 6))
    assert [layer.name for layer in pruner.layers] == ["first", "twice"]
    assert pruner.unprunable == {"unused": "is not called on the example input"}
    ignoring = make_pruner(Tied(), "element", images=torch.randn(2, 6), ignore=("second",))
    assert [layer.name for layer in ignoring.layers] == ["twice"]
    assert ignoring.unprunable["first"] == "shares its weight with second, which is left whole"
    assert pruner.cost([36, 36]).flops == 4 * 36
    assert pruner.cost([9, 36]).flops == 2 * 9 + 2 * 36
    assert pruner.cost([9, 36]).params == sum(p.numel() for p in Tied().parameters()) - 27
    pruned = pruner.prune([9, 18])
    assert pruned.second.weight is pruned.first.weight
    optimizer = torch.optim.SGD(pruned.parameters(), lr=0.1, momentum=0.9)
    for _ in range(3):
        optimizer.zero_grad()
        pruned(torch.randn(8, 6)).square().sum().backward()
        optimizer.step()
    assert int(pruned.first.weight.count_nonzero()) == 9
    assert int(pruned.twice.weight.count_nonzero()) == 18


def test_what_cannot_be_pruned_is_refused_or_listed() -> None:
    with pytest.raises(GraphError, match="nothing to prune: it has no layers with weights"):
        make_pruner(nn.Flatten(), "element")
    with pytest.raises(GraphError, match="ignore names 'nowhere'"):
        make_pruner(convolutions(), "element", ignore=("nowhere",))
    pruner = make_pruner(convolutions(), "element", ignore=("0",))
    assert pruner.unprunable == {"0": "is ignored"}
    computed = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(6, 6)), nn.Linear(6, 2))
    assert make_pruner(computed, "element", images=torch.randn(2, 6)).unprunable == {"0": "computes its weight"}


@pytest.mark.parametrize("groups", [1, 2])
def test_matrices_of_transposed_convolutions_have_a_row_an_output(groups: int) -> None:
    layer = nn.ConvTranspose2d(4, 6, 2, groups=groups, bias=False)
    matrix = as_matrix(layer.weight.detach(), layer)
    assert matrix.shape == (6, 4 // groups * 4)
    assert torch.equal(from_matrix(matrix, layer, layer.weight.shape), layer.weight)
    impulse = torch.zeros(1, 4, 1, 1)
    impulse[0, -1] = 1.0  # the last input reaches the outputs of the last block only, by the last columns
    assert torch.equal(layer(impulse)[0, -6 // groups :].flatten(1), matrix[-6 // groups :, -4:])


@pytest.mark.parametrize("cut", [Cut(1), Cut(3), Cut(1, 4), Cut(2, 2)])
def test_cut_and_spread_undo_each_other(cut: Cut) -> None:
    matrix = torch.arange(1.0, 31.0).reshape(3, 10)
    assert int(cut.sizes(torch.ones_like(matrix, dtype=torch.bool)).sum()) == 30
    numbers = torch.arange(cut.rows(matrix)[..., 0].numel()).reshape(cut.rows(matrix).shape[:2])
    spread = cut.spread(numbers, matrix.shape)
    for number in range(numbers.numel()):
        members = cut.rows(matrix).flatten(0, 1)[number]
        assert sorted(matrix[spread == number].tolist()) == sorted(members[members > 0].tolist())


def test_choices_are_all_or_64_shares() -> None:
    assert unit_choices(4) == (1, 2, 3, 4)
    assert unit_choices(64) == tuple(range(1, 65))
    many = unit_choices(2_359_296)
    assert (len(many), many[0], many[31], many[-1]) == (64, 36_864, 1_179_648, 2_359_296)
