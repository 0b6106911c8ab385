"""What a data set is here: labelled images in memory, split four ways."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from amc.errors import ConfigError


class Source(NamedTuple):
    """Where a data set comes from.

    Attributes:
        folder: where its files lie; ``None`` for where the data set looks by itself.
        cache: where downloads are kept.
        image_size: height and width that images are brought to, for data sets without a size of their own.
    """

    folder: str | None
    cache: Path
    image_size: int | None = None


class Split(NamedTuple):
    """Labelled images.

    Attributes:
        images: bytes, or floats that are a network's input as they are, shape ``(n, channels, height, width)``.
        labels: class numbers, int64, shape ``(n,)``.
    """

    images: Tensor
    labels: Tensor

    def take(self, indices: Tensor) -> "Split":
        """Return the images and labels at ``indices``."""
        return Split(self.images[indices], self.labels[indices])


class RawData(NamedTuple):
    """A data set as published: its training and its test images."""

    train: Split
    test: Split
    num_classes: int


class Normalization(NamedTuple):
    """Per-channel mean and standard deviation of byte images, 0 and 1 for images of floats, each ``(1, c, 1, 1)``."""

    mean: Tensor
    std: Tensor

    def __call__(self, images: Tensor) -> Tensor:
        """Turn bytes into floats of zero mean and unit variance, floats into themselves."""
        return ((images.float() - self.mean) / self.std).contiguous()


@dataclass(frozen=True)
class Splits:
    """The four splits of a run. ``search`` is cut from the published training images; ``test`` is read once.

    Attributes:
        train: what the dense network is trained on and pruned networks are fine-tuned on.
        calibration: a few of the training images.
        search: what strategies are scored on.
        test: the published test images.
        num_classes: number of classes.
        normalize: turns the bytes of any of them into the network's input.
    """

    train: Split
    calibration: Split
    search: Split
    test: Split
    num_classes: int
    normalize: Normalization

    @property
    def in_channels(self) -> int:
        """Channels of an image."""
        return self.train.images.shape[1]

    def example(self) -> Tensor:
        """Return one normalised image, ``(1, c, h, w)``."""
        return self.normalize(self.calibration.images[:1])


def make_splits(
    raw: RawData, calibration: int, search: int, seed: int, normalize: Normalization | None = None
) -> Splits:
    """Cut ``search`` images off the training set and name ``calibration`` of the rest.

    Args:
        raw: the data set as published.
        calibration: number of calibration images; they stay in the training split.
        search: number of search images; they leave the training split.
        seed: fixes which images go where.
        normalize: bytes; ``None`` for the mean and deviation of the training images.

    Raises:
        ConfigError: a split would be empty, or there is nothing to normalise so.
    """
    total = len(raw.train.labels)
    if not (0 < calibration <= total - search and 0 < search < total):
        raise ConfigError(
            f"data.calibration={calibration} and data.search={search} do not fit into {total} training images"
        )
    order = torch.randperm(total, generator=torch.Generator().manual_seed(seed))
    train = raw.train.take(order[search:])
    return Splits(
        train=train,
        calibration=Split(train.images[:calibration], train.labels[:calibration]),
        search=raw.train.take(order[:search]),
        test=raw.test,
        num_classes=raw.num_classes,
        normalize=_normalization(train.images) if normalize is None else _fitting(normalize, train.images),
    )


def normalization_of(mean: Sequence[float], std: Sequence[float]) -> Normalization:
    """Return how bytes are normalised by a mean and deviation of pixels from 0 to 1, one for each colour."""
    return Normalization(*((255 * torch.tensor(each, dtype=torch.float32)).view(1, -1, 1, 1) for each in (mean, std)))


def _fitting(normalize: Normalization, images: Tensor) -> Normalization:
    if images.is_floating_point():
        raise ConfigError("data.mean: goes with images of bytes; these are floats, and reach the network as they are")
    if normalize.mean.shape[1] != images.shape[1]:
        raise ConfigError(f"data.mean: {normalize.mean.shape[1]} values for images of {images.shape[1]} colours")
    return normalize


def _normalization(images: Tensor) -> Normalization:
    if images.is_floating_point():
        shape = (1, images.shape[1], 1, 1)
        return Normalization(torch.zeros(shape), torch.ones(shape))
    as_float = images[:10_000].float()
    mean = as_float.mean((0, 2, 3), keepdim=True)
    return Normalization(mean, as_float.std((0, 2, 3), keepdim=True).clamp_min(1.0))
