import pytest
import torch
from torch import Tensor, nn

from amc.zoo.models.registry import MODELS, build_model


class Concatenation(nn.Module):
    """Two branches joined, a grouped convolution across the seam, and two heads."""

    def __init__(self) -> None:
        super().__init__()
        self.left = nn.Conv2d(3, 8, 3, padding=1)
        self.right = nn.Conv2d(3, 12, 1)
        self.norm = nn.BatchNorm2d(20)
        self.grouped = nn.Conv2d(20, 16, 3, stride=2, padding=1, groups=2)
        self.after = nn.Conv2d(16, 8, 1)
        self.first, self.second = nn.Linear(8 * 4, 5), nn.Linear(8 * 4, 2)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        joined = self.norm(torch.cat([self.left(images), self.right(images)], 1)).relu()
        features = nn.functional.adaptive_avg_pool2d(self.after(self.grouped(joined).relu()), 2).flatten(1)
        return self.first(features), self.second(features)


class SqueezeExcitation(nn.Module):
    """Channels scaled by what two small convolutions make of their means."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 16, 3, padding=1)
        self.norm = nn.BatchNorm2d(16)
        self.squeeze, self.excite = nn.Conv2d(16, 8, 1), nn.Conv2d(8, 16, 1)
        self.last = nn.Conv2d(16, 8, 3, padding=1)
        self.head = nn.Linear(8, 5)

    def forward(self, images: Tensor) -> Tensor:
        features = self.norm(self.conv(images)).relu()
        scale = self.excite(self.squeeze(features.mean((2, 3), keepdim=True)).relu()).sigmoid()
        return self.head(self.last(features * scale).mean((2, 3)))


def shake_norms(model: nn.Module) -> nn.Module:
    """Give batch norms statistics of their own: with fresh ones a biased channel and an absent one look alike."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.bias)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2.0)
    return model.eval()


HAND_MADE = {"concatenation": Concatenation, "squeeze_excitation": SqueezeExcitation}


WIDTHS = {"mobilenet": 0.25, "mobilenet_v2": 0.25, "vgg16": 0.125}
"""The Gram matrices of wide networks take half a minute, and show nothing that those of narrow ones do not."""


DEEPER = pytest.param("resnet56", marks=pytest.mark.slow)
"""Of the blocks of ResNet-20, and three times as many."""


@pytest.fixture(params=[*HAND_MADE, *(DEEPER if name == "resnet56" else name for name in MODELS)])
def network(request: pytest.FixtureRequest) -> nn.Module:
    torch.manual_seed(0)
    if request.param in HAND_MADE:
        return shake_norms(HAND_MADE[request.param]())
    return shake_norms(build_model(request.param, num_classes=10, in_channels=3, width=WIDTHS.get(request.param, 0.5)))


@pytest.fixture
def images() -> Tensor:
    return torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(1))
