"""Convolutions in oneDNN's hands: the same values, and activated only where an activation alone reads them."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor, nn

from envs.engine.network.isolation import copy_structure
from envs.engine.scoring.fast_convolutions import FastConvolutions, fusable_pairs, onednn_takes_over
from envs.engine.scoring.packed_convolution import PackedConv2d
from envs.engine.scoring.top1 import Top1Scorer

pytestmark = pytest.mark.skipif(not onednn_takes_over(), reason="this torch has no such operator for this processor")
IMAGES = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def conv(inputs: int = 3, outputs: int = 3, **settings: object) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1, **settings)


class Residual(nn.Module):
    """One activation in two places; only the first reads a convolution, the second a sum that is changed in place."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.second, self.relu = conv(), nn.Identity(), conv(), nn.ReLU(inplace=True)

    def forward(self, images: Tensor) -> Tensor:
        hidden = self.relu(self.norm(self.first(images)))
        hidden -= 1
        return self.relu(self.second(hidden) + self.relu(hidden))


class ReadTwice(nn.Module):
    """What the convolution returns is read before it is activated."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.relu = conv(), nn.ReLU()

    def forward(self, images: Tensor) -> Tensor:
        hidden = self.conv(images)
        return self.relu(hidden) + hidden


class Shared(nn.Module):
    """One convolution, called twice, activated once."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.relu = conv(), nn.ReLU()

    def forward(self, images: Tensor) -> Tensor:
        return self.conv(self.relu(self.conv(images)))


class Branching(nn.Module):
    """Code that no symbolic tracer follows, and that keeps what it was called with."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.relu = conv(), nn.ReLU()
        self.seen: object = None

    def forward(self, images: Tensor) -> Tensor:
        self.seen = images
        return self.relu(self.conv(images)) if images.sum() > 0 else self.conv(images)


def hooked() -> nn.Module:
    network = nn.Sequential(conv(), nn.ReLU())
    network[0].register_forward_hook(lambda _module, _args, output: output - 1)
    return network


CASES: dict[str, tuple[Callable[[], nn.Module], set[str]]] = {
    "relu": (lambda: nn.Sequential(conv(), nn.Identity(), nn.ReLU(inplace=True)), {"0"}),
    "relu6": (lambda: nn.Sequential(conv(3, 6, groups=3, bias=False), nn.ReLU6(), conv(6, 2, stride=2)), {"0"}),
    "pointwise": (lambda: nn.Sequential(nn.Conv2d(3, 5, 1), nn.ReLU6(), nn.Conv2d(5, 3, 1, bias=False)), {"0"}),
    "pointwise with stride": (lambda: nn.Sequential(nn.Conv2d(3, 5, 1, stride=2), nn.ReLU()), {"0"}),
    "dilated": (lambda: nn.Sequential(conv(dilation=2), nn.ReLU()), {"0"}),
    "other padding": (lambda: nn.Sequential(conv(padding_mode="reflect"), nn.ReLU()), set()),
    "other activation": (lambda: nn.Sequential(conv(), nn.SiLU()), set()),
    "norm between": (lambda: nn.Sequential(conv(), nn.BatchNorm2d(3), nn.ReLU()), set()),
    "residual": (Residual, {"first"}),
    "read twice": (ReadTwice, set()),
    "shared": (Shared, set()),
    "branching": (Branching, set()),
    "hooked": (hooked, set()),
}

LEFT_ALONE = {"other padding": {"0"}, "hooked": {"0"}}


@pytest.mark.parametrize("precision", [None, torch.bfloat16], ids=["fp32", "bf16"])
@pytest.mark.parametrize("name", CASES)
def test_what_is_fused_returns_what_torch_returns(name: str, precision: torch.dtype | None) -> None:
    torch.manual_seed(0)
    make, expected = CASES[name]
    network = make().eval()
    with torch.autocast("cpu", precision or torch.bfloat16, enabled=precision is not None):
        with torch.inference_mode():
            plain = network(IMAGES)
            fused = FastConvolutions()(network)
            torch.testing.assert_close(fused(IMAGES.clone()), plain)
            torch.testing.assert_close(fused(3 * IMAGES), network(3 * IMAGES))
        packed = {each: module for each, module in fused.named_modules() if isinstance(module, PackedConv2d)}
        assert {each for each, module in packed.items() if module.activation is not None} == expected
        left = {each for each, module in fused.named_modules() if type(module) is nn.Conv2d}
        assert left == LEFT_ALONE.get(name, set())


def test_without_inference_mode_gradients_flow() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(conv(), nn.ReLU()).eval()
    fused = FastConvolutions()(network)
    for each in (network, fused):
        each(IMAGES).sum().backward()
    weight = fused.get_parameter("0.weight")
    assert weight is network.get_parameter("0.weight")  # both passes added to the same gradient
    alone = nn.Sequential(conv(), nn.ReLU())
    alone.load_state_dict(network.state_dict())
    alone(IMAGES).sum().backward()
    torch.testing.assert_close(weight.grad, 2 * alone.get_parameter("0.weight").grad)


def test_looking_at_a_network_leaves_it_as_it_was() -> None:
    network = Branching().eval()
    assert fusable_pairs(network) == ()
    assert network.seen is None


def test_asking_what_this_torch_can_do_draws_nothing() -> None:
    before = torch.get_rng_state()
    onednn_takes_over.__wrapped__()
    assert torch.equal(torch.get_rng_state(), before)


def test_a_structure_is_looked_at_once_and_another_one_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[nn.Module] = []

    def counted(model: nn.Module) -> object:
        looked.append(model)
        return fusable_pairs(model)

    monkeypatch.setattr("envs.engine.scoring.fast_convolutions.fusable_pairs", counted)
    fusion = FastConvolutions()
    network = nn.Sequential(conv(), nn.ReLU(), conv(), nn.ReLU()).eval()
    fusion(network), fusion(copy_structure(network))
    assert len(looked) == 1
    network[3] = nn.Identity()  # as where a block is gone: the second convolution is read as it is
    with torch.inference_mode():
        torch.testing.assert_close(fusion(network)(IMAGES), network(IMAGES))
    assert len(looked) == 2


def test_networks_of_the_same_layers_that_call_them_otherwise_are_told_apart() -> None:
    class Switched(nn.Module):
        def __init__(self, residual: bool) -> None:
            super().__init__()
            self.conv, self.relu, self.residual = conv(), nn.ReLU(), residual

        def forward(self, images: Tensor) -> Tensor:
            hidden = self.conv(images)
            return self.relu(hidden + images if self.residual else hidden)

    fusion = FastConvolutions()
    for residual in (False, True):
        network = Switched(residual).eval()
        with torch.inference_mode():
            torch.testing.assert_close(fusion(network)(IMAGES), network(IMAGES))
            torch.testing.assert_close(fusion(network)(IMAGES[0]), network(IMAGES[0]))  # without a batch


def test_only_the_main_thread_looks_at_a_network() -> None:
    fusion, network = FastConvolutions(), nn.Sequential(conv(), nn.ReLU()).eval()
    with ThreadPoolExecutor(1) as pool:
        # Elsewhere torch.fx would disturb networks that other threads run.
        assert activation_of(pool.submit(fusion, network).result()) is None
        assert activation_of(fusion(network)) is nn.ReLU
        assert activation_of(pool.submit(fusion, network).result()) is nn.ReLU


def activation_of(network: nn.Module) -> object:
    packed = network.get_submodule("0")
    assert isinstance(packed, PackedConv2d)
    return packed.activation


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last], ids=["nchw", "nhwc"])
@pytest.mark.parametrize("shape", [(3, 1, 4, 4), (1, 17, 4, 4), (3, 16, 9, 8), (2, 17, 9, 9), (3, 5, 1, 1)])
@pytest.mark.parametrize("size", [1, 3])
def test_outputs_lie_in_memory_as_torchs_do(
    size: int, shape: tuple[int, int, int, int], memory_format: torch.memory_format
) -> None:
    torch.manual_seed(0)
    images = torch.randn(shape).contiguous(memory_format=memory_format)
    network = nn.Sequential(nn.Conv2d(shape[1], 6, size, padding=size // 2), nn.ReLU(), nn.Conv2d(6, 2, 1)).eval()
    with torch.inference_mode():
        plain, found = network(images), FastConvolutions()(network)(images)
    torch.testing.assert_close(found, plain)
    for format_ in (torch.contiguous_format, torch.channels_last):
        # Code that views what it is given finds it as it is used to.
        assert found.is_contiguous(memory_format=format_) or not plain.is_contiguous(memory_format=format_)


def test_answers_do_not_depend_on_which_batch_came_first() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(conv(3, 40), nn.ReLU(), nn.Conv2d(40, 500, 1), nn.ReLU(), nn.Conv2d(500, 7, 1)).eval()
    images = torch.randn(60, 3, 4, 4).contiguous(memory_format=torch.channels_last)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        late, early = FastConvolutions()(network), FastConvolutions()(network)
        early(images[:2])
        assert torch.equal(late(images), early(images))


def test_copies_for_threads_share_what_was_laid_out() -> None:
    network = FastConvolutions()(nn.Sequential(conv(), nn.ReLU()).eval())
    copied = copy_structure(network)
    with torch.inference_mode():
        copied(IMAGES)
    packed = network.get_submodule("0")
    assert isinstance(packed, PackedConv2d)
    assert len(packed.kernels) == 1


def test_the_scorer_runs_networks_fused() -> None:
    torch.manual_seed(0)
    ran: list[type[nn.Module]] = []

    class Noting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.relu, self.pool = conv(3, 5), nn.ReLU(), nn.AdaptiveAvgPool2d(1)

        def forward(self, images: Tensor) -> Tensor:
            ran.append(type(self.conv))
            return self.pool(self.relu(self.conv(images))).flatten(1)

    network = Noting().eval()
    labels = network(IMAGES).argmax(1)
    ran.clear()
    assert Top1Scorer(IMAGES, labels)(network).metric == 1
    assert ran[-1] is PackedConv2d
