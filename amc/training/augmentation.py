"""What training does to images before a network sees them, and batch norms therefore know."""

import torch
from torch import Tensor
from torch.nn.functional import pad

from amc.config.recipe import Recipe
from amc.zoo.data.device_data import DeviceData


def augment(images: Tensor, recipe: Recipe, generator: torch.Generator) -> Tensor:
    """Shift every image of a batch on its own, over black, and mirror half of them, as the recipe says."""
    count = len(images)
    if recipe.shift:
        images = shifted(images, torch.randint(0, 2 * recipe.shift + 1, (2, count), generator=generator), recipe.shift)
    if recipe.flip:
        images = mirrored(images, torch.rand(count, generator=generator) < 0.5)
    return images


def shifted(images: Tensor, corners: Tensor, most: int) -> Tensor:
    """Return images, ``(n, c, h, w)``, each cut anew from itself with ``most`` black pixels around it.

    Args:
        images: on the device of the corners.
        corners: top rows and left columns of what is cut, from 0 to twice ``most``, ``(2, n)``.
        most: pixels that an image moves by.
    """
    height, width = images.shape[2:]
    padded = pad(images, (most,) * 4)
    top, left = corners.unsqueeze(2)
    rows = top + torch.arange(height, device=corners.device)
    columns = left + torch.arange(width, device=corners.device)
    image = torch.arange(len(images), device=corners.device).view(-1, 1, 1)
    return padded[image, :, rows.unsqueeze(2), columns.unsqueeze(1)].permute(0, 3, 1, 2)


def mirrored(images: Tensor, which: Tensor) -> Tensor:
    """Return images, ``(n, c, h, w)``, those left to right that ``which``, bool of shape ``(n,)``, says."""
    return torch.where(which.view(-1, 1, 1, 1), images.flip(-1), images)


def calibration_as_trained(data: DeviceData, count: int, recipe: Recipe, seed: int) -> Tensor:
    """Return calibration images as training shows them: batch norms that see them plain lose a network points.

    On CIFAR-10 a ResNet-20 that was trained on images shifted by up to four pixels is 90.8% right; 85.5% with its batch
    norms measured anew on plain images, and 90.8% on shifted ones (``benchmarks/repair.md``).

    Args:
        data: images shaped ``(n, channels, height, width)`` if the recipe augments any.
        count: images at most.
        recipe: that the network was trained by.
        seed: of shifts and flips.
    """
    images = augment(data.splits.calibration.images[:count], recipe, torch.Generator().manual_seed(seed))
    return data.inputs(images)
