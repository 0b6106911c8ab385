"""A detector as the YOLO family has them: cross-stage blocks, a pyramid of features and a head at three scales."""

from itertools import pairwise

import torch
from torch import Tensor, nn


def conv(inputs: int, outputs: int, size: int = 1, stride: int = 1) -> nn.Sequential:
    """Return a convolution, its batch norm and SiLU."""
    layer = nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(outputs), nn.SiLU(inplace=True))


class CrossStage(nn.Module):
    """A block of which half of the channels go by, and all that it computed on the way is read at its end."""

    def __init__(self, inputs: int, outputs: int, shortcut: bool = True) -> None:
        super().__init__()
        half, self.shortcut = outputs // 2, shortcut
        self.first, self.last = conv(inputs, outputs), conv(3 * half, outputs)
        self.inner = nn.Sequential(conv(half, half, 3), conv(half, half, 3))

    def forward(self, features: Tensor) -> Tensor:
        """Compute the block."""
        by, read = self.first(features).chunk(2, 1)
        computed = self.inner(read) + read if self.shortcut else self.inner(read)
        return self.last(torch.cat([by, read, computed], 1))


class Head(nn.Module):
    """Boxes, as distributions over distances to four sides, and classes at one scale."""

    def __init__(self, inputs: int, classes: int, bins: int) -> None:
        super().__init__()
        self.boxes = nn.Sequential(conv(inputs, 32, 3), conv(32, 32, 3), nn.Conv2d(32, 4 * bins, 1))
        self.classes = nn.Sequential(conv(inputs, 32, 3), conv(32, 32, 3), nn.Conv2d(32, classes, 1))

    def forward(self, features: Tensor) -> Tensor:
        """Return predictions, ``(n, bins and classes, places)``."""
        return torch.cat([self.boxes(features), self.classes(features)], 1).flatten(2)


class Detector(nn.Module):
    """Backbone, pyramid and heads at strides 8, 16 and 32; returns expected distances and probabilities by place."""

    def __init__(self, width: int = 16, classes: int = 20, bins: int = 8) -> None:
        super().__init__()
        sizes = [width, 2 * width, 4 * width, 8 * width]
        self.bins = bins
        self.stem = nn.Sequential(conv(3, width, 3, 2), conv(width, width, 3, 2), CrossStage(width, width))
        self.down = nn.ModuleList(nn.Sequential(conv(a, b, 3, 2), CrossStage(b, b)) for a, b in pairwise(sizes))
        self.up = nn.ModuleList(
            [CrossStage(sizes[3] + sizes[2], sizes[2], False), CrossStage(sizes[2] + sizes[1], sizes[1], False)]
        )
        self.heads = nn.ModuleList(Head(size, classes, bins) for size in sizes[1:])

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Detect: distances, ``(n, 4, places)``, and probabilities, ``(n, classes, places)``."""
        features = self.stem(images)
        scales = []
        for stage in self.down:
            features = stage(features)
            scales.append(features)
        for number, merge in enumerate(self.up):
            wider = nn.functional.interpolate(scales[2 - number], scale_factor=2)
            scales[1 - number] = merge(torch.cat([wider, scales[1 - number]], 1))
        found = torch.cat([head(scale) for head, scale in zip(self.heads, scales, strict=True)], 2)
        boxes, classes = found.split([4 * self.bins, found.shape[1] - 4 * self.bins], 1)
        shares = boxes.unflatten(1, (4, self.bins)).softmax(2)
        distances = (shares * torch.arange(self.bins).view(-1, 1)).sum(2)
        return distances, classes.sigmoid()
