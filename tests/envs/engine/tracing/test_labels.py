"""Labels against what really changes: one channel of a layer's output at a time is moved, and its reader watched."""

from collections import defaultdict
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from envs.engine.network.calls import record_calls
from envs.engine.network.channels import Side
from envs.engine.pruners.verification import keep_removable
from envs.engine.tracing.graph import Way, trace
from envs.engine.tracing.labels import NotFollowed, follow_labels
from envs.engine.tracing.network_graph import new_ties

WIDTH = 12
TOKENS = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(0))
Code = Callable[[Tensor], Tensor]


def heads(x: Tensor) -> Tensor:
    return x.unflatten(-1, (2, -1)).transpose(1, 2)


def together(x: Tensor) -> Tensor:
    return x.transpose(1, 2).flatten(-2)


def attended(x: Tensor) -> Tensor:
    query, key, value = map(heads, x.chunk(3, -1))
    return together(functional.scaled_dot_product_attention(query, key, value))


def written_in_place(x: Tensor) -> Tensor:
    y = torch.zeros_like(x)
    y.copy_(x)
    return y.relu_().add_(y.flip(-1))


def rotated(x: Tensor) -> Tensor:
    turned = torch.view_as_complex(x.unflatten(-1, (-1, 2)).contiguous()) * torch.polar(
        torch.ones(6), torch.arange(1.0, 7.0)
    )
    return torch.view_as_real(turned).flatten(-2)


OPERATIONS: dict[str, Code] = {
    "nothing": lambda x: x,
    "activation": lambda x: functional.gelu(x.relu() + 1),
    "halves added": lambda x: x[..., :6] + x[..., 6:],
    "halves swapped": lambda x: torch.cat(x.chunk(2, -1)[::-1], -1),
    "interleaved": lambda x: torch.stack(x.split(6, -1), -1).flatten(-2),
    "shuffled": lambda x: x.unflatten(-1, (3, 4)).transpose(-1, -2).flatten(-2),
    "rolled": lambda x: x.roll(5, -1),
    "indexed": lambda x: x[..., torch.tensor([5, 1, 1, 7])],
    "selected": lambda x: x.index_select(-1, torch.tensor([0, 11, 3])),
    "gathered": lambda x: x.gather(-1, torch.arange(11, -1, -1).expand(2, 5, 12)),
    "padded": lambda x: functional.pad(x, (2, 1)),
    "repeated": lambda x: x.repeat(1, 1, 2),
    "one for all": lambda x: x * x[..., :1].sigmoid(),
    "mean of all": lambda x: x + x.mean(-1, keepdim=True),
    "largest of two": lambda x: x.unflatten(-1, (6, 2)).amax(-1),
    "softmax of four": lambda x: x.unflatten(-1, (3, 4)).softmax(-1).flatten(-2),
    "normed by four": lambda x: functional.layer_norm(x.unflatten(-1, (3, 4)), (4,)).flatten(-2),
    "normed by groups": lambda x: functional.group_norm(x.transpose(1, 2), 3).transpose(1, 2),
    "other activations": lambda x: functional.logsigmoid(functional.hardswish(functional.prelu(x, torch.ones(1)))),
    "gated": lambda x: functional.glu(x, -1),
    "tokens mixed": lambda x: torch.ones(5, 5) @ x + x.cumsum(1) + x.mean(1, keepdim=True),
    "windows": lambda x: x[:, :4].unflatten(1, (2, 2)).flatten(0, 1).roll(1, 1),
    "summed products": lambda x: torch.einsum("bnhd,bmhd->bnmh", *[x.unflatten(-1, (3, 4))] * 2),
    "attention": attended,
    "in place": written_in_place,
    "complex numbers": rotated,
    "where": lambda x: torch.where(torch.arange(12) % 2 == 0, x, x.roll(1, -1)),
    "positions": lambda x: x + torch.linspace(0, 1, 12),
}


class Between(nn.Module):
    """A layer, code, and a layer that reads what the code makes of the first one's outputs."""

    def __init__(self, code: Code) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.code, self.writes = code, nn.Linear(3, WIDTH)
        self.reads = nn.Linear(code(self.writes(TOKENS)).shape[-1], 2)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.reads(self.code(self.writes(tokens)))


def moved_together(code: Code, written: Tensor) -> set[frozenset[tuple[str, int]]]:
    """Return the channels that go together, two units or more that are alike."""
    sets = [{("reads", channel)} for channel in range(code(written).shape[-1])]
    for channel in range(WIDTH):
        moved = written.clone()
        moved[..., channel] += torch.randn(written.shape[:-1], generator=torch.Generator().manual_seed(channel))
        changed = (code(moved) - code(written)).abs().flatten(0, -2).amax(0) > 1e-7
        readers = [each for each in sets if any(bool(changed[index]) for kind, index in each if kind == "reads")]
        sets = [each for each in sets if each not in readers]
        sets.append({("writes", channel)}.union(*readers))
    alike = defaultdict(list)
    for each in sets:
        kinds = [kind for kind, _ in each]
        if len(set(kinds)) == 2:
            alike[kinds.count("reads"), kinds.count("writes")].append(frozenset(each))
    return {unit for units in alike.values() if len(units) > 1 for unit in units}


@pytest.mark.parametrize("name", OPERATIONS)
def test_what_moves_together_goes_together(name: str) -> None:
    model = Between(OPERATIONS[name]).eval()
    graph = trace(model, TOKENS)
    assert graph.found_by is Way.LABELS
    found = {
        frozenset(
            (member.module, int(channel))
            for member in group.members
            for channel in (member.unit == unit).nonzero().flatten()
        )
        for group in graph.groups
        for unit in range(group.units)
    }
    with torch.no_grad():
        expected = moved_together(OPERATIONS[name], model.writes(TOKENS))
    assert found == expected


@pytest.mark.parametrize("code", [lambda x: torch.linalg.qr(x).R, lambda x: x.as_strided((2, 5, 12), (60, 1, 5))])
def test_with_what_is_not_known_another_way_is_taken_and_checked(code: Code) -> None:
    model = Between(code).eval()
    graph = trace(model, TOKENS)
    assert graph.found_by is not Way.LABELS
    assert not keep_removable(model, graph, TOKENS).groups


def test_networks_whose_last_feature_map_has_one_pixel_are_followed_in_any_layout() -> None:
    """Pooling to one pixel says anew where in memory channels lie if they were last."""
    torch.manual_seed(0)
    layers = [
        nn.Conv2d(3, 8, 3),
        nn.ReLU(),
        nn.Conv2d(8, 12, 3),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(12, 4),
    ]
    for layout in (torch.contiguous_format, torch.channels_last):
        model = nn.Sequential(*layers).eval().to(memory_format=layout)  # type: ignore[call-overload]
        graph = trace(model, torch.randn(2, 3, 8, 8).contiguous(memory_format=layout))
        assert graph.found_by is Way.LABELS
        assert sorted(group.units for group in graph.groups) == [8, 12]


def overlapping(x: Tensor) -> Tensor:
    y = x.clone()
    y[..., :4] = x[..., 4:8]
    return y + 0


def test_a_part_that_is_overwritten_is_not_followed_and_another_way_is_taken() -> None:
    model = Between(overlapping).eval()
    calls, _ = record_calls(model, TOKENS)
    with pytest.raises(NotFollowed):
        follow_labels(new_ties(model, calls, ()), model, TOKENS, calls)
    graph = trace(model, TOKENS)
    assert graph.found_by is not Way.LABELS
    assert graph.groups


def test_labels_cost_no_memory_along_an_image() -> None:
    """And are found where one pixel differs from the others."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 4)).eval()
    graph = trace(net, torch.randn(1, 3, 8, 8))
    assert graph.folds == (("0", "1"),)
    (group,) = graph.groups
    assert {(m.module, m.side, m.multiplicity) for m in group.members} == {
        ("0", Side.OUT, 1), ("1", Side.BOTH, 1), ("4", Side.IN, 36),
    }  # fmt: skip


class Scaled(nn.Module):
    """An activation with a parameter for each of some channels, or one for all."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        return x.relu() * self.scale


class Biased(nn.Module):
    """Layers beside a parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(5, 1))
        self.up, self.down = nn.Linear(8, 16), nn.Linear(16, 8)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(self.up(x + self.bias).relu())


def test_parameters_for_all_channels_alike_stop_none() -> None:
    def written(act: nn.Module) -> set[str]:
        net = nn.Sequential(nn.Linear(3, 8), act, Biased(), nn.Linear(8, 2)).eval()
        return {member.module for group in trace(net, TOKENS).groups for member in group.at(Side.OUT)}

    assert written(Scaled(1)) == {"0", "2.up", "2.down"}
    assert written(Scaled(8)) == {"2.up", "2.down"}
