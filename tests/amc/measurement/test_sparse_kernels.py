import pytest
import torch
from torch import Tensor, nn

from amc.measurement.sparse_kernels import (
    UnfoldedConvolution,
    has_sparse_kernels,
    is_two_of_four,
    kernel_note,
    on_sparse_kernels,
)
from envs.engine.scoring.top1 import metric_scorer
from envs.engine.settings import EngineSettings
from envs.engine.torch_engine import TorchEngine

CPU = torch.device("cpu")


def pruned(granularity: str, device: torch.device) -> tuple[nn.Module, Tensor]:
    """Two convolutions and a linear layer of shapes that sparse kernels take, half of their weights kept."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(16, 64, 1),
        nn.ReLU(),
        nn.Conv2d(64, 64, 3, stride=2, padding=1, bias=False),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(64 * 16, 64),
    ).to(device)
    images = torch.randn(8, 16, 8, 8, device=device)
    settings = EngineSettings(granularity=granularity, adaptive_bn=0)
    engine = TorchEngine(model.eval(), images[:1], images, metric_scorer(lambda _: 0.5), settings)
    return engine.prune((0.5,) * len(engine.layers)), images


@pytest.mark.parametrize(
    "options", [{}, {"stride": 2, "padding": 1}, {"dilation": 2, "padding": (1, 2), "bias": False}]
)
def test_a_convolution_is_a_product_of_unfolded_inputs(options: dict[str, object]) -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(3, 5, (3, 2), **options)
    images = torch.randn(2, 3, 9, 8)
    torch.testing.assert_close(UnfoldedConvolution(layer)(images), layer(images), rtol=1e-5, atol=1e-5)


def test_what_the_engine_prunes_is_two_of_four() -> None:
    for granularity, holds in (("n_m", True), ("element", False)):
        model, _ = pruned(granularity, CPU)
        weights = [layer.weight.flatten(1) for layer in model if isinstance(layer, nn.Conv2d | nn.Linear)]
        assert all(is_two_of_four(weight) == holds for weight in weights)
    assert not is_two_of_four(torch.tensor([[1.0, 1, 1, 0]]))
    assert not is_two_of_four(torch.zeros(1, 6))


def test_every_run_says_what_its_kernels_gain() -> None:
    assert "dense kernels get faster" in kernel_note("channel", 4, CPU)
    assert "no faster" in kernel_note("element", 4, CPU)
    assert kernel_note("n_m", 4, CPU).endswith("sparse kernels for 2:4 are what this device (cpu) lacks")
    assert "2:4" not in kernel_note("n_m", 8, CPU)
    assert not has_sparse_kernels(CPU)


def test_sparse_kernels_compute_what_dense_ones_do() -> None:
    device = torch.device("cuda")
    if not torch.cuda.is_available() or not has_sparse_kernels(device):
        pytest.skip("this machine has no GPU with kernels for 2:4 (compute capability 8.0 or higher, cuSPARSELt)")
    model, images = pruned("n_m", device)
    sparse = on_sparse_kernels(model)
    assert sparse.layers == ("0", "2", "5")
    with torch.inference_mode():
        torch.testing.assert_close(sparse.model(images), model(images), rtol=2e-2, atol=2e-2)
