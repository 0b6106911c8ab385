"""Models by name: one row a model."""

from collections.abc import Callable
from functools import partial
from typing import Protocol

from torch import nn

from amc.zoo.models import timm, torchvision
from amc.zoo.models.mobilenet import MobileNet
from amc.zoo.models.mobilenet_v2 import MobileNetV2
from amc.zoo.models.resnet import CifarResNet
from amc.zoo.models.vgg import VGG16


class ModelFactory(Protocol):
    """Builds an untrained network for images of ``in_channels`` and ``num_classes`` classes."""

    def __call__(self, num_classes: int, in_channels: int, width: float = 1.0) -> nn.Module:
        """Return the network, freshly initialised from torch's global generator."""


MODELS: dict[str, ModelFactory] = {
    "mobilenet": MobileNet,
    "mobilenet_v2": MobileNetV2,
    "plain20": partial(CifarResNet, depth=20, residual=False),
    "resnet20": partial(CifarResNet, depth=20, residual=True),
    "resnet56": partial(CifarResNet, depth=56, residual=True),
    "vgg16": VGG16,
}


LIBRARIES: dict[str, Callable[[str, int, int], nn.Module]] = {"timm": timm.build, "torchvision": torchvision.build}
"""Builders ``(name, num_classes, in_channels)`` of other packages' networks, by the package."""
TARGETS = {f"{build.__module__}.{build.__name__}": library for library, build in LIBRARIES.items()}
"""The package by what ``model._target_`` says."""


def build_model(name: str, num_classes: int, in_channels: int, width: float = 1.0) -> nn.Module:
    """Build a model of the zoo, or of a package as ``timm/mobilenetv2_100``, with random weights.

    Raises:
        ValueError: no model has this name.
        ConfigError: the package is missing, or has no such network.
    """
    library, _, of_library = name.partition("/")
    if library in LIBRARIES:
        return LIBRARIES[library](of_library, num_classes, in_channels)
    if name not in MODELS:
        raise ValueError(f"model={name!r}: the zoo has {', '.join(MODELS)}")
    return MODELS[name](num_classes, in_channels, width=width)
