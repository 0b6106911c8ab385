"""MobileNet-V2 for small images."""

from torch import Tensor, nn

from amc.zoo.models.width import scale_channels

# (expansion, output channels, repeats, stride of the first) of the paper's Table 2. The strides of the
# stem and of the second stage are 1 here: a 32x32 image has no pixels to spare.
STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 1),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
STEM, HEAD = 32, 1280


def conv_bn(inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    """Convolution and batch norm without activation."""
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return [conv, nn.BatchNorm2d(outputs)]


class InvertedResidual(nn.Module):
    """Expand by 1x1, filter by a depthwise 3x3, project by a linear 1x1; a shortcut where shapes agree."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        layers: list[nn.Module] = []
        if expansion != 1:
            layers += [*conv_bn(inputs, hidden), nn.ReLU6(inplace=True)]
        layers += [*conv_bn(hidden, hidden, 3, stride, groups=hidden), nn.ReLU6(inplace=True)]
        layers += conv_bn(hidden, outputs)
        self.body = nn.Sequential(*layers)
        self.shortcut = stride == 1 and inputs == outputs

    def forward(self, features: Tensor) -> Tensor:
        """Map ``(n, inputs, h, w)`` to ``(n, outputs, h / stride, w / stride)``."""
        out = self.body(features)
        return features + out if self.shortcut else out


class MobileNetV2(nn.Module):
    """Inverted residuals with linear bottlenecks.

    Args:
        num_classes: outputs of the classifier.
        in_channels: channels of the image.
        width: multiplier on every channel count; the last convolution does not shrink below the paper's 1280.

    References:
        Sandler et al., 2018, "MobileNetV2", arXiv 1801.04381, Table 2.
    """

    def __init__(self, num_classes: int, in_channels: int, width: float = 1.0) -> None:
        super().__init__()
        channels = scale_channels(STEM, width)
        layers: list[nn.Module] = [*conv_bn(in_channels, channels, kernel=3), nn.ReLU6(inplace=True)]
        for expansion, base, repeats, first_stride in STAGES:
            outputs = scale_channels(base, width)
            for repeat in range(repeats):
                stride = first_stride if repeat == 0 else 1
                layers.append(InvertedResidual(channels, outputs, stride, expansion))
                channels = outputs
        head = scale_channels(HEAD, max(1.0, width))
        layers += [*conv_bn(channels, head), nn.ReLU6(inplace=True)]
        self.features = nn.Sequential(*layers)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(head, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Map images ``(n, in_channels, h, w)`` to logits ``(n, num_classes)``."""
        return self.classifier(self.pool(self.features(images)).flatten(1))
