import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from amc.zoo.models.registry import build_model
from envs.engine.costs.peak_memory import peak_bytes
from envs.engine.errors import NotKnown
from envs.engine.settings import EngineSettings
from envs.engine.torch_engine import TorchEngine
from envs.engine.types import Evaluation

IMAGES = torch.randn(1, 3, 16, 16)
PIXEL = 4 * 256
"""Bytes of one channel of an image."""


class Shortcut(nn.Module):
    """Keeps its input alive until the end; looks at a value, which the device ``meta`` has not."""

    def __init__(self, looks: bool) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 1)
        self.looks = looks

    def forward(self, images: Tensor) -> Tensor:
        features = self.first(images)
        inner = self.second(features)
        if self.looks and float(inner.sum()) == float("inf"):
            return inner
        return relu(inner).add_(features)


def weights(network: nn.Module) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in network.parameters())


def test_activations_count_while_they_are_alive() -> None:
    network = nn.Sequential(nn.Conv2d(3, 8, 1), nn.ReLU(), nn.Conv2d(8, 16, 1), nn.ReLU(inplace=True)).eval()
    # The input, and a convolution's input and output; what is behind it works in place.
    assert peak_bytes(network, IMAGES) == weights(network) + (3 + 8 + 16) * PIXEL


@pytest.mark.parametrize("looks", [False, True])
def test_a_shortcut_stays_alive(looks: bool) -> None:
    network = Shortcut(looks).eval()
    scalar = 4 if looks else 0
    found = peak_bytes(network, IMAGES) - weights(network)
    # The shortcut, the second convolution's output, and its rectified copy.
    assert (3 + 8 + 8 + 8) * PIXEL <= found <= (3 + 8 + 8 + 8) * PIXEL + scalar


def test_a_search_can_be_limited_by_it() -> None:
    images = torch.randn(2, 1, 16, 16)
    settings = EngineSettings(reconstruct=False, adaptive_bn=0, round_to=4)
    engine = TorchEngine(
        build_model("resnet20", 10, 1, 0.5).eval(), images, images, lambda _: Evaluation(0, 0, 1), settings
    )
    assert engine.cost(engine.dense_strategy).memory_peak is None
    engine.track_peak(images[:1])
    whole = engine.cost(engine.dense_strategy).memory_peak
    half = engine.cost((0.5,) * len(engine.layers)).memory_peak
    assert whole is not None
    assert half is not None
    assert half < 0.6 * whole


def test_masks_leave_activations_whole() -> None:
    settings = EngineSettings(granularity="element", adaptive_bn=0)
    images = torch.randn(2, 1, 8, 8)
    network = build_model("resnet20", 10, 1, 0.25).eval()
    engine = TorchEngine(network, images, images, lambda _: Evaluation(0, 0, 1), settings)
    with pytest.raises(NotKnown, match="needs granularity=block, channel, channel_block, not element"):
        engine.track_peak(images)
