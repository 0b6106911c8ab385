"""One's own data, checked: ``data._target_=my_package.make_splits``.

What the function returns is one of

- a pair ``(train, test)`` of pairs ``(images, labels)``, from which ``data.search`` images are cut and
  ``data.calibration`` ones named, as from the data sets of the registry;
- the same with the number of classes behind it, ``(train, test, num_classes)``; else it is the highest label plus one;
- ``amc.zoo.data.dataset.Splits``, cut and normalised already.

Images are tensors or arrays ``(n, channels, height, width)``: bytes, which are normalised by the mean and deviation of
the training images, or floats, which reach the network as they are. Labels are whole numbers ``(n,)`` from 0.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from amc.errors import ConfigError, RefusedInput
from amc.zoo.data.dataset import Normalization, RawData, Split, Splits, make_splits

RETURNS = "it must return (train, test), each a pair (images, labels), or amc.zoo.data.dataset.Splits"


def as_splits(
    found: object, calibration: int, search: int, seed: int, normalize: Normalization | None = None
) -> Splits:
    """Return what one's own function returned as the splits of a run.

    Args:
        found: what it returned.
        calibration: images to name for calibration.
        search: images to cut from the training images.
        seed: fixes which.
        normalize: bytes, see ``make_splits``.

    Raises:
        ConfigError: it is something else.
        RefusedInput: images or labels are of a wrong kind, shape or range.
    """
    if isinstance(found, Splits):
        if normalize is not None:
            raise ConfigError("data.mean: Splits are normalised already")
        for name in ("train", "calibration", "search", "test"):
            _check(name, getattr(found, name), found.train.images, found.num_classes)
        return found
    if not isinstance(found, tuple | list) or len(found) not in (2, 3):
        raise ConfigError(f"{RETURNS}, not {_kind(found)}")
    train, test = (_as_split(name, part) for name, part in zip(("train", "test"), found, strict=False))
    classes = found[2] if len(found) == 3 else int(train.labels.max()) + 1
    if not isinstance(classes, int) or classes < 1:
        raise ConfigError(f"{RETURNS}; the number of classes is {classes!r}")
    _check("train", train, train.images, classes)
    _check("test", test, train.images, classes)
    return make_splits(RawData(train, test, classes), calibration, search, seed, normalize)


def _as_split(name: str, part: Any) -> Split:  # noqa: ANN401  whatever the user's function returns
    if not isinstance(part, tuple | list) or len(part) != 2:
        raise ConfigError(f"{RETURNS}; {name} is {_kind(part)}")
    images, labels = (
        _as_tensor(f"{name} {what}", value) for what, value in zip(("images", "labels"), part, strict=True)
    )
    if labels.is_floating_point() or labels.is_complex() or labels.ndim != 1 or not len(labels):
        raise RefusedInput(f"{name} labels are {_describe(labels)}: must be whole numbers (n,), at least one")
    return Split(
        images if images.dtype == torch.uint8 or not images.is_floating_point() else images.float(), labels.long()
    )


def _as_tensor(name: str, value: object) -> Tensor:
    if isinstance(value, np.ndarray | list):
        try:
            value = torch.as_tensor(np.asarray(value))
        except (TypeError, ValueError) as error:
            raise RefusedInput(f"{name} are no array of numbers ({error})") from error
    if not isinstance(value, Tensor):
        raise ConfigError(f"{RETURNS}; {name} are {_kind(value)}")
    return value.detach().cpu()


def _check(name: str, split: Split, like: Tensor, classes: int) -> None:
    images, labels = split
    if images.ndim != 4 or not images.numel() or not (images.dtype == torch.uint8 or images.is_floating_point()):
        raise RefusedInput(
            f"{name} images are {_describe(images)}: must be bytes or floats (n, channels, height, width)"
        )
    if images.shape[1:] != like.shape[1:] or images.dtype != like.dtype:
        raise RefusedInput(f"{name} images are {_describe(images)}, train images {_describe(like)}: must be alike")
    if len(images) != len(labels):
        raise RefusedInput(f"{name} has {len(images)} images and {len(labels)} labels: as many are needed")
    if images.is_floating_point() and not bool(images.isfinite().all()):
        raise RefusedInput(f"{name} images hold values that are not finite")
    if int(labels.min()) < 0 or int(labels.max()) >= classes:
        low, high = int(labels.min()), int(labels.max())
        raise RefusedInput(f"{name} labels go from {low} to {high}: must be from 0 to {classes - 1}")


def _describe(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"


def _kind(value: object) -> str:
    return f"a {type(value).__name__}" + (f" of {len(value)}" if isinstance(value, tuple | list) else "")
