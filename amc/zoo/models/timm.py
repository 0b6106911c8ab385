"""Networks of timm, PyTorch Image Models: ``model=timm model.name=mobilenetv2_100``."""

from contextlib import nullcontext
from typing import Any

from torch import nn

from amc.zoo.models.library import check_name, downloading, import_library


def build(name: str, num_classes: int, in_channels: int, pretrained: bool = False, **options: Any) -> nn.Module:  # noqa: ANN401  whatever timm takes
    """Build a network of timm.

    Args:
        name: as timm lists it, also with the tag of its weights, such as ``mobilenetv2_100.ra_in1k``.
        num_classes: outputs; a head for another number than the published one is new.
        in_channels: channels of an image; published weights of the first layer are added up for grey images.
        pretrained: load the published weights, which may download them.
        options: what else the network takes, such as ``img_size`` and ``depth``: ``+model.args.img_size=32``.

    Raises:
        ConfigError: timm is not installed, or has no such network or no weights for it.
        StorageError: the weights cannot be downloaded.
    """
    timm = import_library("timm")
    # Only what timm itself lists: it would take addresses of anyone's networks, too.
    check_name("timm", name.partition(".")[0], timm.list_models())
    with downloading("timm", name) if pretrained else nullcontext():
        network: nn.Module = timm.create_model(
            name, pretrained=pretrained, num_classes=num_classes, in_chans=in_channels, **options
        )
    return network
