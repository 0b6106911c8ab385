"""The CIFAR networks of the ResNet paper: plain20, resnet20, resnet56."""

from torch import Tensor, nn

from amc.zoo.models.width import scale_channels

STAGE_CHANNELS = (16, 32, 64)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions; with ``residual`` a shortcut around them, projected where shapes differ.

    The projection (a 1x1 convolution, the paper's option B) replaces the zero-padding of its option A, whose
    channel arithmetic ties both ends of a stage together and so leaves less to prune.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, residual: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.residual = residual
        self.shortcut: nn.Module = nn.Identity()
        if residual and (stride != 1 or inputs != outputs):
            projection = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
            self.shortcut = nn.Sequential(projection, nn.BatchNorm2d(outputs))

    def forward(self, features: Tensor) -> Tensor:
        """Map ``(n, inputs, h, w)`` to ``(n, outputs, h / stride, w / stride)``."""
        out = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(features)))))
        return self.relu(out + self.shortcut(features) if self.residual else out)


class CifarResNet(nn.Module):
    """Three stages of ``(depth - 2) / 6`` blocks at full, half and quarter resolution.

    Args:
        num_classes: outputs of the classifier.
        in_channels: channels of the image.
        depth: 6 n + 2 weighted layers.
        residual: with shortcuts (ResNet) or without (the paper's plain networks).
        width: multiplier on every channel count.

    Raises:
        ValueError: ``depth`` is not 6 n + 2.

    References:
        He et al., 2015, "Deep Residual Learning for Image Recognition", arXiv 1512.03385, section 4.2.
    """

    def __init__(
        self, num_classes: int, in_channels: int, depth: int = 20, residual: bool = True, width: float = 1.0
    ) -> None:
        super().__init__()
        if depth < 8 or (depth - 2) % 6:
            raise ValueError(f"depth={depth}: a CIFAR ResNet has 6 n + 2 layers, such as 20 or 56")
        channels = scale_channels(STAGE_CHANNELS[0], width)
        self.stem = nn.Sequential(
            nn.Conv2d(in_channels, channels, 3, 1, 1, bias=False), nn.BatchNorm2d(channels), nn.ReLU(inplace=True)
        )
        blocks = []
        for stage, base in enumerate(STAGE_CHANNELS):
            outputs = scale_channels(base, width)
            for block in range((depth - 2) // 6):
                stride = 2 if stage > 0 and block == 0 else 1
                blocks.append(BasicBlock(channels, outputs, stride, residual))
                channels = outputs
        self.blocks = nn.Sequential(*blocks)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(channels, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Map images ``(n, in_channels, h, w)`` to logits ``(n, num_classes)``."""
        return self.classifier(self.pool(self.blocks(self.stem(images))).flatten(1))
