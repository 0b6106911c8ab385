"""Blocks that the networks of the tables are made of."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


def conv(inputs: int, outputs: int, kernel: int = 3, **options: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, **options)


def unit(inputs: int, outputs: int, kernel: int = 3, **options: int) -> nn.Sequential:
    return nn.Sequential(conv(inputs, outputs, kernel, **options), nn.BatchNorm2d(outputs), nn.ReLU())


def pooled(features: Tensor) -> Tensor:
    return features.mean((2, 3))


class Residual(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.first, self.second = unit(inputs, outputs, stride=stride), conv(outputs, outputs)
        same = inputs == outputs and stride == 1
        self.shortcut = nn.Identity() if same else conv(inputs, outputs, 1, stride=stride)

    def forward(self, images: Tensor) -> Tensor:
        return (self.second(self.first(images)) + self.shortcut(images)).relu()


class PreActivation(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = nn.BatchNorm2d(channels), conv(channels, channels)
        self.norm2, self.conv2 = nn.BatchNorm2d(channels), conv(channels, channels)

    def forward(self, images: Tensor) -> Tensor:
        return images + self.conv2(self.norm2(self.conv1(self.norm1(images).relu())).relu())


class Dense(nn.Module):
    def __init__(self, inputs: int, growth: int, layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Sequential(nn.BatchNorm2d(inputs + i * growth), nn.ReLU(), conv(inputs + i * growth, growth))
            for i in range(layers)
        )

    def forward(self, images: Tensor) -> Tensor:
        for layer in self.layers:
            images = torch.cat([images, layer(images)], 1)
        return images


class Squeeze(nn.Module):
    """Squeeze-and-excitation by linear layers."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.down, self.up = nn.Linear(channels, channels // 2), nn.Linear(channels // 2, channels)

    def forward(self, images: Tensor) -> Tensor:
        scale = self.up(self.down(pooled(images)).relu()).sigmoid()
        return images * scale[:, :, None, None]


class Shuffle(nn.Module):
    """ShuffleNet's unit: half of the channels pass, half are worked on, then all are shuffled."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.branch = nn.Sequential(unit(half, half, 1), conv(half, half, groups=half), unit(half, half, 1))

    def forward(self, images: Tensor) -> Tensor:
        left, right = images.chunk(2, 1)
        joined = torch.cat([left, self.branch(right)], 1)
        b, c, h, w = joined.shape
        return joined.view(b, 2, c // 2, h, w).transpose(1, 2).reshape(b, c, h, w)


class UNet(nn.Module):
    def __init__(self, transposed: bool) -> None:
        super().__init__()
        self.down1, self.down2, self.middle = unit(3, 16), unit(16, 32), unit(32, 32)
        self.up2 = nn.ConvTranspose2d(32, 32, 2, 2) if transposed else nn.Upsample(scale_factor=2)
        self.merge2 = unit(64, 16)
        self.up1 = nn.ConvTranspose2d(16, 16, 2, 2) if transposed else nn.Identity()
        self.merge1, self.head = unit(32, 16), conv(16, 4, 1)

    def forward(self, images: Tensor) -> Tensor:
        first = self.down1(images)
        second = self.down2(F.max_pool2d(first, 2))
        up = self.up2(self.middle(F.max_pool2d(second, 2)))
        up = self.up1(self.merge2(torch.cat([up, second], 1)))
        up = F.interpolate(up, size=first.shape[2:], mode="bilinear", align_corners=False)
        return self.head(self.merge1(torch.cat([up, first], 1)))
