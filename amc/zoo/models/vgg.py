"""VGG-16 with batch norm for small images."""

from torch import Tensor, nn

from amc.zoo.models.width import scale_channels

POOL = 0
LAYOUT = (64, 64, POOL, 128, 128, POOL, 256, 256, 256, POOL, 512, 512, 512, POOL, 512, 512, 512, POOL)


class VGG16(nn.Module):
    """Configuration D: thirteen 3x3 convolutions in five stages, then one hidden linear layer.

    Args:
        num_classes: outputs of the classifier.
        in_channels: channels of the image.
        width: multiplier on every channel count.

    References:
        Simonyan and Zisserman, 2014, arXiv 1409.1556, Table 1 D; batch norm and the short classifier as in
        Liu and Deng, 2015, "Very deep convolutional neural network based image classification", for CIFAR.
    """

    def __init__(self, num_classes: int, in_channels: int, width: float = 1.0) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = in_channels
        for base in LAYOUT:
            if base == POOL:
                # ceil_mode: an 8x8 image is down to one pixel before the fifth pool.
                layers.append(nn.MaxPool2d(2, ceil_mode=True))
                continue
            outputs = scale_channels(base, width)
            layers += [
                nn.Conv2d(channels, outputs, 3, 1, 1, bias=False),
                nn.BatchNorm2d(outputs),
                nn.ReLU(inplace=True),
            ]
            channels = outputs
        self.features = nn.Sequential(*layers)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(
            nn.Linear(channels, channels), nn.ReLU(inplace=True), nn.Dropout(0.5), nn.Linear(channels, num_classes)
        )

    def forward(self, images: Tensor) -> Tensor:
        """Map images ``(n, in_channels, h, w)`` to logits ``(n, num_classes)``."""
        return self.classifier(self.pool(self.features(images)).flatten(1))
