"""Layers that are torch's and something more, as timm writes them."""

from collections.abc import Callable

import torch
from blocks import conv, pooled
from net_builder import Net
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


class NormAct(nn.BatchNorm2d):
    """A batch norm that holds its activation."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.act = nn.ReLU()

    def forward(self, images: Tensor) -> Tensor:
        return self.act(super().forward(images))


class NormRelu(nn.BatchNorm2d):
    """The same without a module of its own for the activation."""

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images).relu()


class SamePadded(nn.Conv2d):
    """A convolution that pads its input itself, so that its output is as large."""

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(F.pad(images, (1, 1, 1, 1)))


class Standardised(nn.Conv2d):
    """A convolution that normalises its weights over what each filter reads."""

    def forward(self, images: Tensor) -> Tensor:
        weight = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
        return self._conv_forward(images, weight / weight.std((1, 2, 3), keepdim=True), self.bias)


class StandardisedPadded(Standardised):
    """The same on an input that it pads itself: no layer of torch's does that."""

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(F.pad(images, (1, 1, 1, 1)))


def normed(norm: Callable[[int], nn.Module]) -> nn.Module:
    layers = (conv(3, 16), norm(16), conv(16, 32), norm(32), conv(32, 32, groups=32), norm(32), conv(32, 16), norm(16))
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 4))


def convolved(kind: type[nn.Conv2d]) -> nn.Module:
    def block(inputs: int, outputs: int) -> nn.Sequential:
        return nn.Sequential(kind(inputs, outputs, 3), nn.BatchNorm2d(outputs), nn.ReLU())

    layers = (conv(3, 16), nn.ReLU(), block(16, 32), block(32, 16), conv(16, 16), nn.ReLU())
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 4))


def remembering() -> nn.Module:
    """A network that keeps what it computed of its weights while it is not trained, as LeViT does."""

    def forward(net: Net, images: Tensor) -> Tensor:
        if net.training:
            net.kept = None
        elif net.kept is None:
            net.kept = net.bias.exp()
        scale = net.bias.exp() if net.kept is None else net.kept
        return net.head(pooled(net.c(net.b(net.a(images).relu()).relu()) * scale))

    net = Net(
        forward, a=conv(3, 16), b=conv(16, 32), c=conv(32, 16), head=nn.Linear(16, 4), bias=nn.Parameter(torch.zeros(1))
    )
    net.kept = None
    return net


def ghost() -> nn.Module:
    """GhostNet's units: half of the channels come from a cheap depthwise convolution of the other half."""

    class Ghost(nn.Module):
        def __init__(self, inputs: int, outputs: int) -> None:
            super().__init__()
            half = outputs // 2
            self.first, self.cheap, self.outputs = conv(inputs, half, 1), conv(half, half, groups=half), outputs

        def forward(self, images: Tensor) -> Tensor:
            features = self.first(images).relu()
            return torch.cat([features, self.cheap(features).relu()], 1)[:, : self.outputs]

    class Block(nn.Module):
        def __init__(self, channels: int) -> None:
            super().__init__()
            self.up, self.down = Ghost(channels, 2 * channels), Ghost(2 * channels, channels)

        def forward(self, images: Tensor) -> Tensor:
            return images + self.down(self.up(images))

    layers = (conv(3, 16), nn.ReLU(), Block(16), Block(16), conv(16, 16), nn.ReLU())
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 4))
