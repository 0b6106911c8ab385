"""Networks of torchvision: ``model=torchvision model.name=resnet18``."""

from typing import Any

import torch
from torch import Tensor, nn

from amc.zoo.models.library import check_name, downloading, import_library

WITH_SECOND_HEAD = ("googlenet", "inception_v3")
COLOURS = 3


def build(name: str, num_classes: int, in_channels: int, pretrained: bool = False) -> nn.Module:
    """Build a network of torchvision.

    Args:
        name: as torchvision lists it.
        num_classes: outputs; a head for another number than the published one is new.
        in_channels: channels of an image; the first convolution is made anew where they are not three. Of published
            weights it gets the mean over colours, three times: grey images then say what grey colour images would.
        pretrained: load the published weights, which may download them.

    Raises:
        ConfigError: torchvision is not installed, does not fit torch, or has no such network.
        StorageError: the weights cannot be downloaded.
    """
    models = import_library("torchvision").models
    check_name("torchvision", name, models.list_models(module=models))
    # A second head, for training only, would answer with more than one tensor then.
    options: dict[str, Any] = {"aux_logits": False, "init_weights": True} if name in WITH_SECOND_HEAD else {}
    network: nn.Module = models.get_model(name, weights=None, num_classes=num_classes, **options)
    if in_channels != COLOURS:
        _replace_stem(network, in_channels)
    if pretrained:
        options.pop("init_weights", None)
        with downloading("torchvision", name):
            published = models.get_model(name, weights="DEFAULT", **options)
        _fill(network, published.state_dict())
        if name in WITH_SECOND_HEAD:
            network.__dict__["transform_input"] = in_channels == COLOURS  # a plain attribute
    return network


def _replace_stem(network: nn.Module, in_channels: int) -> None:
    """Give the convolution that reads the image new weights for another number of channels."""
    stem = next(module for module in network.modules() if isinstance(module, nn.Conv2d))
    stem.in_channels = in_channels
    stem.weight = nn.Parameter(torch.empty(stem.out_channels, in_channels, *stem.kernel_size))
    stem.reset_parameters()


def _fill(network: nn.Module, published: dict[str, Tensor]) -> None:
    """Load the published weights where they fit; what is for other classes stays new."""
    own = network.state_dict()
    for name, weights in published.items():
        if name in own and own[name].shape == weights.shape:
            own[name].copy_(weights)
        elif (
            name in own
            and weights.ndim == 4
            and own[name].shape[2:] == weights.shape[2:]
            and weights.shape[1] == COLOURS
        ):
            own[name].copy_(weights.mean(1, keepdim=True) * COLOURS / own[name].shape[1])
