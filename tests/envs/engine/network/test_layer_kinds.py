"""Every row of the table of layer kinds keeps the same promises; a new row needs an example here, and no test."""

import copy
from collections.abc import Callable
from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from amc.weights.resize import resize
from envs.engine.costs.cost_model import ResourceModel
from envs.engine.network.calls import record_calls
from envs.engine.network.channels import ChannelGroup, GroupMember, Side
from envs.engine.network.kinds import LAYER_KINDS, UNPRUNABLE, kind_of
from envs.engine.network.modules import channel_dims_of, is_product
from envs.engine.surgery.compaction import compact, kept_channels, mask_inputs
from envs.engine.tracing.graph import NetworkGraph

IN, OUT, BOTH = Side.IN, Side.OUT, Side.BOTH


class Example(NamedTuple):
    """A layer of one kind.

    Attributes:
        kind: name of the row.
        build: makes the layer.
        inputs: shape of its input; of whole numbers below 5 where the layer reads no channels.
        units: at every side, for every channel the number of the unit that it goes with.
        axis: of the channels in inputs and outputs.
    """

    kind: str
    build: Callable[[], nn.Module]
    inputs: tuple[int, ...]
    units: dict[Side, list[int]]
    axis: int = 1


EXAMPLES = {
    "conv": Example("convolution", lambda: nn.Conv2d(3, 4, 3, 2, 1), (2, 3, 7, 7), {IN: [0, 1, 2], OUT: [0, 1, 2, 3]}),
    "conv1d": Example("convolution", lambda: nn.Conv1d(3, 2, 2, bias=False), (2, 3, 7), {IN: [0, 1, 2], OUT: [0, 1]}),
    "conv3d": Example("convolution", lambda: nn.Conv3d(3, 2, 2), (1, 3, 4, 4, 4), {IN: [0, 1, 2], OUT: [0, 1]}),
    "grouped": Example(
        "convolution",
        lambda: nn.Conv2d(6, 4, 3, groups=2),
        (2, 6, 5, 5),
        {IN: [0, 1, 2, 0, 1, 2], OUT: [0, 1, 0, 1]},
    ),
    "transposed": Example(
        "transposed convolution",
        lambda: nn.ConvTranspose2d(3, 4, 3, stride=2),
        (2, 3, 5, 5),
        {IN: [0, 1, 2], OUT: [0, 1, 2, 3]},
    ),
    "transposed, grouped": Example(
        "transposed convolution",
        lambda: nn.ConvTranspose1d(4, 6, 3, groups=2),
        (2, 4, 5),
        {IN: [0, 1, 0, 1], OUT: [0, 1, 2, 0, 1, 2]},
    ),
    "depthwise": Example(
        "depthwise convolution", lambda: nn.Conv2d(4, 4, 3, groups=4), (2, 4, 5, 5), {BOTH: [0, 1, 2, 3]}
    ),
    "transposed depthwise": Example(
        "transposed depthwise convolution",
        lambda: nn.ConvTranspose2d(4, 4, 3, groups=4),
        (2, 4, 5, 5),
        {BOTH: [0, 1, 2, 3]},
    ),
    "linear": Example("linear layer", lambda: nn.Linear(4, 3), (2, 4), {IN: [0, 1, 2, 3], OUT: [0, 1, 2]}),
    "linear on tokens": Example(
        "linear layer", lambda: nn.Linear(4, 3), (2, 5, 4), {IN: [0, 0, 1, 1], OUT: [0, 1, 2]}, axis=-1
    ),
    "embedding": Example("embedding", lambda: nn.Embedding(5, 4), (2, 3), {OUT: [0, 1, 2, 3]}, axis=-1),
    "embedding bag": Example("embedding", lambda: nn.EmbeddingBag(5, 4), (2, 3), {OUT: [0, 1, 2, 3]}),
    "batch norm": Example("batch or instance norm", lambda: nn.BatchNorm2d(4), (2, 4, 3, 3), {BOTH: [0, 1, 2, 3]}),
    "batch norm, plain": Example(
        "batch or instance norm", lambda: nn.BatchNorm1d(4, affine=False), (2, 4), {BOTH: [0, 1, 2, 3]}
    ),
    "instance norm": Example(
        "batch or instance norm", lambda: nn.InstanceNorm1d(4, affine=True), (2, 4, 6), {BOTH: [0, 1, 2, 3]}
    ),
    "group norm": Example("group norm", lambda: nn.GroupNorm(3, 6), (2, 6, 3, 3), {BOTH: [0, 0, 1, 1, 2, 2]}),
    "layer norm": Example("layer or RMS norm", lambda: nn.LayerNorm(4), (2, 3, 4), {BOTH: [0, 1, 2, 3]}, axis=-1),
    "layer norm of images": Example(
        "layer or RMS norm", lambda: nn.LayerNorm([4, 3, 3]), (2, 4, 3, 3), {BOTH: [0, 1, 2, 3]}
    ),
    "rms norm": Example("layer or RMS norm", lambda: nn.RMSNorm(4), (2, 3, 4), {BOTH: [0, 1, 2, 3]}, axis=-1),
    "prelu": Example("PReLU", lambda: nn.PReLU(4), (2, 4, 3), {BOTH: [0, 1, 2, 3]}),
}


KEPT_WHOLE = ("layer or RMS norm",)
PRUNED = [name for name, example in EXAMPLES.items() if channel_dims_of("", example.build())]
"""Examples that the engine removes channels from; the others are made smaller by loading weights alone."""


@pytest.fixture(params=EXAMPLES)
def example(request: pytest.FixtureRequest) -> Example:
    return EXAMPLES[request.param]


def network(example: Example) -> nn.Sequential:
    """The layer in a network, every parameter and statistic of it drawn at random."""
    torch.manual_seed(0)
    model = nn.Sequential(example.build()).eval()
    for tensor in (*model.parameters(), *model.buffers()):
        if tensor.is_floating_point():
            tensor.data.uniform_(0.5, 1.5)
    return model


def inputs_of(example: Example) -> Tensor:
    reads = set(example.units) & {IN, BOTH}
    return torch.randn(example.inputs) if reads else torch.randint(5, example.inputs)


def groups_of(example: Example) -> list[ChannelGroup]:
    """A group a side."""
    return [
        ChannelGroup(max(unit) + 1, (GroupMember("0", side, torch.tensor(unit)),))
        for side, unit in example.units.items()
    ]


def kept_units(example: Example) -> list[Tensor]:
    """All units but the second of every side."""
    return [torch.arange(max(unit) + 1) != 1 for unit in example.units.values()]


def pruned(example: Example) -> tuple[nn.Module, nn.Module]:
    """The dense network, and the smaller one."""
    model = network(example)
    return model, compact(model, kept_channels(groups_of(example), kept_units(example)))


def stays(example: Example, *sides: Side) -> Tensor | None:
    """The channels that stay at the first of these sides that the layer has."""
    for side in sides:
        if side in example.units:
            return (torch.tensor(example.units[side]) != 1).nonzero().flatten()
    return None


def test_every_row_has_an_example() -> None:
    plain = {kind.name for kind in LAYER_KINDS if not kind.reader}  # the others: test_headed_attention.py
    assert {example.kind for example in EXAMPLES.values()} == plain
    assert len({kind.name for kind in LAYER_KINDS}) == len(LAYER_KINDS)


def test_the_row_is_found(example: Example) -> None:
    module = example.build()
    assert [kind.name for kind in LAYER_KINDS if kind.matches(module)] == [example.kind]
    widths = {("0", side): len(unit) for side, unit in example.units.items()}
    assert channel_dims_of("0", module) == (widths if example.kind not in KEPT_WHOLE else {})


@torch.no_grad()
@pytest.mark.parametrize("name", PRUNED)
def test_the_smaller_layer_does_what_the_masked_one_does(name: str) -> None:
    example = EXAMPLES[name]
    model, small = pruned(example)
    inputs, read, written = inputs_of(example), stays(example, IN, BOTH), stays(example, OUT, BOTH)
    assert written is not None
    found = small(inputs if read is None else inputs.index_select(example.axis, read))
    masked = mask_inputs(model, kept_channels(groups_of(example), kept_units(example)))
    torch.testing.assert_close(found, masked(inputs).index_select(example.axis, written))
    if read is not None:  # the same by hand: the dense layer on inputs of zeros
        zeros = torch.zeros_like(inputs).index_copy(example.axis, read, inputs.index_select(example.axis, read))
        torch.testing.assert_close(found, model(zeros).index_select(example.axis, written))


def test_a_dense_layer_resized_takes_the_smaller_ones_weights(example: Example) -> None:
    model, small = pruned(example)
    fresh = network(example)
    resize(fresh, {name: tensor.shape for name, tensor in small.state_dict().items()})
    fresh.load_state_dict(small.state_dict())
    assert str(fresh) == str(small)
    assert all(torch.equal(fresh.state_dict()[name], tensor) for name, tensor in small.state_dict().items())
    assert str(small) != str(model)


def test_a_layer_of_other_kernels_or_widths_that_contradict_each_other_is_refused(example: Example) -> None:
    module = example.build()
    kind = kind_of(module)
    assert kind is not None
    shapes = {name: tensor.shape for name, tensor in module.state_dict().items() if tensor.ndim}
    name = next(iter(shapes))
    with pytest.raises(ValueError, match=f"{name} of shape"):
        kind.widths_from(module, {**shapes, name: torch.Size((*shapes[name], 1))})
    if len(shapes) > 1:
        other = list(shapes)[1]
        with pytest.raises(ValueError, match="of shape"):
            kind.widths_from(module, {**shapes, other: torch.Size((shapes[other][0] + 1,))})


@pytest.mark.parametrize("name", [name for name, e in EXAMPLES.items() if list(e.build().parameters())])
def test_the_cost_is_that_of_the_smaller_layer(name: str) -> None:
    example = EXAMPLES[name]
    model, small = pruned(example)
    inputs, read = inputs_of(example), stays(example, IN, BOTH)
    calls = record_calls(model, inputs)[0]
    graph = NetworkGraph(tuple(groups_of(example)), calls, (), {}, macs(model, inputs))
    cost = ResourceModel(model, graph).cost([int(units.sum()) for units in kept_units(example)])
    assert cost.flops == pytest.approx(macs(small, inputs if read is None else inputs.index_select(example.axis, read)))
    assert cost.params == sum(parameter.numel() for parameter in small.parameters())
    floats = [t for t in (*small.parameters(), *small.buffers()) if t.is_floating_point()]
    assert cost.memory == sum(tensor.nbytes for tensor in floats)


def macs(model: nn.Module, inputs: Tensor) -> float:
    """Multiply-accumulates of one sample by torch's own counter."""
    with FlopCounterMode(display=False) as counter:
        model(inputs)
    return float(counter.get_total_flops() / 2 / len(inputs))


@torch.no_grad()
@pytest.mark.parametrize(
    "name", [name for name, e in EXAMPLES.items() if is_product(e.build()) and e.axis == 1]
)  # a batch norm reads no tokens
def test_a_batch_norm_behind_a_product_is_folded_into_it(name: str) -> None:
    layer, inputs = network(EXAMPLES[name])[0], inputs_of(EXAMPLES[name])
    kind, outputs = kind_of(layer), layer(inputs)
    assert kind is not None
    assert kind.product is not None
    norms = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d, 5: nn.BatchNorm3d}
    norm = norms[outputs.ndim](outputs.shape[1]).eval()
    norm.running_mean.uniform_(-1, 1)
    norm.running_var.uniform_(0.5, 2)
    folded = kind.product.fold(copy.deepcopy(layer), norm)
    torch.testing.assert_close(folded(inputs), norm(outputs), rtol=1e-4, atol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("name", ["conv", "conv1d", "conv3d", "grouped", "depthwise", "linear", "linear on tokens"])
def test_what_outputs_read_times_the_weights_is_what_they_say(name: str) -> None:
    """With all of them drawn, the samples of least squares give every output once."""
    layer, inputs = network(EXAMPLES[name])[0], inputs_of(EXAMPLES[name])
    kind = kind_of(layer)
    assert kind is not None
    assert kind.product is not None
    assert kind.product.sample is not None
    samples = kind.product.sample(layer, inputs, 10_000, torch.Generator().manual_seed(0))
    weights = layer.weight.flatten(1).unflatten(0, (kind.blocks(layer), -1))
    found = (samples @ weights.transpose(1, 2)).transpose(0, 1).flatten(1)
    if layer.bias is not None:
        found = found + layer.bias
    expected = layer(inputs).movedim(EXAMPLES[name].axis, -1).flatten(0, -2)
    torch.testing.assert_close(found.sort(0).values, expected.sort(0).values, rtol=1e-4, atol=1e-4)


def test_refused_kinds_are_in_no_row() -> None:
    class Own(nn.MultiheadAttention):
        pass

    refused = [nn.LSTM(2, 2), nn.GRUCell(2, 2), Own(4, 2)]
    assert all(isinstance(module, tuple(UNPRUNABLE)) and kind_of(module) is None for module in refused)
