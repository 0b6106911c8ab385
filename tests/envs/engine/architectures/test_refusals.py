import copy
import signal
import threading
import time
from collections.abc import Callable

import pytest
import torch
from blocks import conv, pooled, unit
from net_builder import Net
from torch import Tensor, nn

from envs.engine.errors import GraphError
from envs.engine.network.time_limit import TimeIsUp, time_limit
from envs.engine.scoring.top1 import metric_scorer
from envs.engine.torch_engine import EngineSettings, TorchEngine
from envs.engine.tracing import graph, otherwise

IMAGE = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def engine(model: nn.Module, inputs: Tensor = IMAGE, ignore: tuple[str, ...] = ()) -> TorchEngine:
    settings = EngineSettings(round_to=1, reconstruct=False, adaptive_bn=0, ignore=ignore)
    return TorchEngine(model.eval(), inputs, inputs, metric_scorer(lambda _: 0.5), settings)


def body(forward: Callable[[Net, Tensor], object]) -> Net:
    return Net(forward, a=unit(3, 8), b=unit(8, 8), c=unit(8, 8), head=nn.Linear(8, 4))


def tied(net: Net, images: Tensor) -> Tensor:
    return net.head(pooled(net.b(net.a(images))))


def tied_weights() -> nn.Module:
    net = Net(lambda net, x: net.b(net.a(x).relu()), a=nn.Linear(8, 8), b=nn.Linear(8, 8))
    net.b.weight = net.a.weight
    return net


def twice() -> nn.Module:
    return Net(lambda net, x: net.layer(net.layer(x)), layer=nn.Linear(8, 8))


def by_module(net: Net, images: Tensor) -> Tensor:
    features = net.a(images)
    return net.head(pooled(net.b(features) if images.mean() > 0 else net.c(features)))


def by_function(net: Net, images: Tensor) -> Tensor:
    features = net.b(net.a(images))
    return net.head(pooled(features if images.mean() > 0 else features.flip(1)))


def hard_coded(net: Net, images: Tensor) -> Tensor:
    return net.head(net.a(images).view(-1, 8, 64).mean(2))


def failing(net: Net, images: Tensor) -> Tensor:
    return net.head(net.b(images))


class Uncopied(nn.Linear):
    def __deepcopy__(self, memo: object) -> nn.Module:
        raise RuntimeError("a file is open\nand more")


VECTOR = torch.randn(1, 8)


@pytest.mark.parametrize(
    ("model", "inputs", "reason"),
    [
        (tied_weights(), VECTOR, "nothing to prune.*a shares its weights with b"),
        (twice(), VECTOR, "nothing to prune.*layer is called 2 times"),
        (body(by_module), IMAGE, "the model's own forward makes Python values of tensors"),
        (body(by_function), IMAGE, "move that into a module of its own"),
        (
            Net(hard_coded, a=unit(3, 8), head=nn.Linear(8, 4)),
            IMAGE,
            r"nothing to prune.*a\.0 fails when made smaller.*its code writes sizes out",
        ),
        (body(lambda net, x: tied(net, x) + torch.rand(1)), IMAGE, "two forward passes in eval mode differ"),
        (body(lambda net, x: tied(net, x) * torch.rand(1, 1) if net.training else x), IMAGE, "nothing to prune"),
        (nn.Sequential(nn.Linear(8, 4)), VECTOR, "nothing to prune: 0 is an output of the network"),
        (nn.Sequential(nn.Flatten(), nn.ReLU()), VECTOR, "nothing to prune"),
        (body(failing), IMAGE, r"fails on the example input: b\.0: Given groups=1"),
        (body(lambda net, x: net.head.bias.mul_(1.0) + tied(net, x)), IMAGE, "fails when gradients are on: a leaf"),
        (body(lambda net, x: tied(net, x) / 0 * 0), IMAGE, "returns NaN"),
        (body(lambda net, x: tied(net, x).tolist()), IMAGE, "returns no tensor"),
        (nn.Sequential(nn.Linear(8, 8), nn.LSTM(8, 4)), VECTOR, "nothing to prune.*1 is recurrent"),
    ],
)
def test_one_line_says_what_stands_in_the_way(model: nn.Module, inputs: Tensor, reason: str) -> None:
    with pytest.raises(GraphError, match=reason) as error:
        engine(model, inputs)
    assert "\n" not in str(error.value)


def test_a_network_that_cannot_be_copied_is_refused() -> None:
    with pytest.raises(GraphError, match=r"cannot copy Sequential: a file is open$"):
        graph.trace(nn.Sequential(Uncopied(8, 8)), VECTOR)


def test_ignore_lets_the_rest_go_on() -> None:
    class Routed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.left, self.right = conv(8, 8), conv(8, 8)

        def forward(self, images: Tensor) -> Tensor:
            return self.left(images) if images.mean() > 0 else self.right(images)

    net = nn.Sequential(unit(3, 8), conv(8, 8), nn.BatchNorm2d(8, affine=False), Routed(), unit(8, 8), conv(8, 4))
    with pytest.raises(GraphError, match=r"^3 makes Python values .*ignore=\['3'\]"):
        engine(net)
    found = engine(net, ignore=("3",))
    assert [layer.name for layer in found.layers] == ["1", "5"]
    assert "is ignored" in found.unprunable.values()
    with pytest.raises(GraphError, match="ignore names 'nothing'"):
        engine(net, ignore=("nothing",))


def test_constants_may_be_read() -> None:
    def forward(net: Net, images: Tensor) -> Tensor:
        if bool((net.mask > 0).all()):
            images = images * net.mask
        return tied(net, images)

    net = body(forward)
    net.register_buffer("mask", torch.ones(1))
    assert engine(net).layers


def test_padding_may_be_read() -> None:
    """As networks do that need no mask where nothing is padded; what is not called a mask is data."""

    class Masked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.up, self.down = nn.Linear(4, 16), nn.Linear(16, 4)

        def forward(self, tokens: Tensor, mask: Tensor | None = None, other: Tensor | None = None) -> Tensor:
            if mask is not None and not bool(mask.all()):
                tokens = tokens * mask
            if other is not None and bool(other.all()):
                tokens = tokens + 1
            return self.down(self.up(tokens).relu())

    def traced(**inputs: Tensor) -> graph.NetworkGraph:
        return graph.trace(Masked().eval(), {"tokens": torch.randn(2, 4), **inputs})

    assert len(traced(mask=torch.ones(2, 1)).groups) == 1
    with pytest.raises(GraphError, match="Python values"):
        traced(other=torch.ones(2, 1))


def test_tracing_that_does_not_end_is_cut_short(monkeypatch: pytest.MonkeyPatch) -> None:
    def endless(*_: object) -> None:
        while True:
            try:
                time.sleep(0.01)
            except Exception:  # noqa: S112  what library code may do
                continue

    net = body(tied)
    expected = graph.trace(net, IMAGE).groups
    monkeypatch.setattr(graph, "LABEL_SECONDS", 0.05)
    monkeypatch.setattr(graph, "follow_labels", endless)
    monkeypatch.setattr(otherwise, "TRACE_SECONDS", 0.05)
    monkeypatch.setattr(otherwise, "tie_by_autograd", endless)
    found = graph.trace(net, IMAGE)
    assert found.found_by is graph.Way.PROBING
    assert [(g.units, {(s.module, s.side) for s in g.members}) for g in found.groups] == [
        (g.units, {(s.module, s.side) for s in g.members}) for g in expected
    ]
    monkeypatch.setattr(otherwise, "PROBE_SECONDS", 0.05)
    monkeypatch.setattr(otherwise, "tie_by_probing", endless)
    with pytest.raises(GraphError, match="cannot trace Net within"):
        graph.trace(net, IMAGE)


def test_a_time_limit_is_kept_in_the_main_thread_only() -> None:
    with pytest.raises(TimeIsUp), time_limit(0.02):
        time.sleep(5)
    finished = []

    def work() -> None:
        with time_limit(0.01):
            time.sleep(0.05)
        finished.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert finished
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_a_faulty_graph_is_noticed_whatever_the_weights_hide() -> None:
    """A branch that starts at zero, on an image of zeros: the fault in it must be found all the same."""
    net = Net(
        lambda net, x: net.head(pooled(net.b(x) + net.gamma * net.c(net.a(x).softmax(1)))),
        a=conv(3, 8), b=conv(3, 8), c=conv(8, 8), gamma=nn.Parameter(torch.zeros(1)), head=nn.Linear(8, 4),
    )  # fmt: skip
    found = engine(net, torch.zeros(1, 3, 8, 8))
    assert "mixed" in found.unprunable["a"]
    assert [layer.name for layer in found.layers] == ["head"]


def test_rounding_errors_are_no_fault() -> None:
    """A large number added and taken away leaves few digits: the check at the door looks again with more of them."""
    torch.manual_seed(0)  # so few digits that by chance nothing differs

    def rounded(net: Net, images: Tensor) -> Tensor:
        return tied(net, images) + 1e5 - 1e5

    assert [layer.name for layer in engine(body(rounded)).layers] == ["b.0", "head"]

    def mixed(net: Net, images: Tensor) -> Tensor:
        return net.head(pooled(net.b(net.a(images).softmax(1)))) + 1e5 - 1e5

    assert "mixed" in engine(body(mixed)).unprunable["a.0"]


def test_hooks_and_mode_of_the_traced_network_stay() -> None:
    net = body(tied).train()
    before = copy.deepcopy(net.state_dict())
    graph.trace(net, IMAGE)
    assert net.training
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())
    assert all(torch.equal(before[key], value) for key, value in net.state_dict().items())
