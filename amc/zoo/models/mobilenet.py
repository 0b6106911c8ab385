"""MobileNet-V1 for small images."""

from torch import Tensor, nn

from amc.zoo.models.width import scale_channels

# (output channels, stride) of the 13 depthwise-separable blocks of the paper's Table 1.
BLOCKS = (
    (64, 1),
    (128, 2),
    (128, 1),
    (256, 2),
    (256, 1),
    (512, 2),
    (512, 1),
    (512, 1),
    (512, 1),
    (512, 1),
    (512, 1),
    (1024, 2),
    (1024, 1),
)


def conv_bn_relu(inputs: int, outputs: int, kernel: int, stride: int, groups: int = 1) -> list[nn.Module]:
    """Convolution, batch norm and ReLU, padded so that stride 1 keeps the size."""
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return [conv, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]


class MobileNet(nn.Module):
    """Thirteen depthwise-separable blocks behind a stem whose stride is 1, as images are small.

    Args:
        num_classes: outputs of the classifier.
        in_channels: channels of the image.
        width: multiplier on every channel count.

    References:
        Howard et al., 2017, "MobileNets", arXiv 1704.04861, Table 1.
    """

    def __init__(self, num_classes: int, in_channels: int, width: float = 1.0) -> None:
        super().__init__()
        channels = scale_channels(32, width)
        layers = conv_bn_relu(in_channels, channels, kernel=3, stride=1)
        for base, stride in BLOCKS:
            outputs = scale_channels(base, width)
            layers += conv_bn_relu(channels, channels, kernel=3, stride=stride, groups=channels)
            layers += conv_bn_relu(channels, outputs, kernel=1, stride=1)
            channels = outputs
        self.features = nn.Sequential(*layers)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(channels, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Map images ``(n, in_channels, h, w)`` to logits ``(n, num_classes)``."""
        return self.classifier(self.pool(self.features(images)).flatten(1))
