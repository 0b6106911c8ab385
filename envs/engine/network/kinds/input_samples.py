"""What single outputs of a layer read of its input: the samples of least squares."""

from itertools import product
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad


def sample_tokens(_: nn.Module, inputs: Tensor, points: int, generator: torch.Generator) -> Tensor:
    """Return randomly chosen tokens.

    Args:
        inputs: of a linear layer, shape ``(n, ..., features)``.
        points: tokens a sample of the batch; all where there are fewer. The samples share their positions.
        generator: chooses the positions.

    Returns:
        Shape ``(1, n * points, features)``.
    """
    tokens = inputs.flatten(1, -2) if inputs.ndim > 2 else inputs.unsqueeze(1)
    chosen = torch.randperm(tokens.shape[1], generator=generator)[:points].to(inputs.device)
    return tokens[:, chosen].flatten(0, 1).unsqueeze(0)


def sample_windows(module: Any, inputs: Tensor, points: int, generator: torch.Generator) -> Tensor:  # noqa: ANN401
    """Return the windows that randomly chosen output pixels read.

    Args:
        module: a convolution, not transposed.
        inputs: its input, shape ``(n, channels, *pixels)``.
        points: output pixels an image; all where there are fewer. The images of a batch share them.
        generator: chooses the pixels.

    Returns:
        Shape ``(groups, n * points, channels of a group x kernel elements)``.
    """
    windows = _windows(module, inputs)
    pixels = torch.tensor(list(product(*map(range, windows.shape[2 : 2 + len(module.kernel_size)]))))
    chosen = pixels[torch.randperm(len(pixels), generator=generator)[:points]].to(inputs.device)
    batch_and_channels: tuple[slice | Tensor, ...] = (slice(None), slice(None))
    picked = windows[batch_and_channels + chosen.unbind(1)]
    samples: Tensor = picked.unflatten(1, (module.groups, -1)).movedim(1, 0).transpose(2, 3)
    return samples.flatten(3).flatten(1, 2)


def read_tokens(_: nn.Module, inputs: Tensor, places: Tensor) -> Tensor:
    """Return the tokens at some places, counted over all axes but the last.

    Returns:
        Shape ``(1, places, features)``.
    """
    return inputs.flatten(0, -2)[places].unsqueeze(0)


def read_windows(module: Any, inputs: Tensor, places: Tensor) -> Tensor:  # noqa: ANN401
    """Return the windows that the output pixels at some places read, counted over images and pixels.

    Returns:
        Shape ``(groups, places, channels of a group x kernel elements)``.
    """
    windows = _windows(module, inputs)
    pixels = windows.shape[2 : 2 + len(module.kernel_size)]
    image, pixel = places // prod(pixels), places % prod(pixels)
    where: tuple[slice | Tensor, ...] = (image, slice(None), *torch.unravel_index(pixel, pixels))
    return windows[where].unflatten(1, (module.groups, -1)).flatten(2).transpose(0, 1)


def _windows(module: Any, inputs: Tensor) -> Tensor:  # noqa: ANN401
    """View a convolution's padded input as the windows it reads, ``(n, channels, *pixels, *kernel)``."""
    mode = "constant" if module.padding_mode == "zeros" else module.padding_mode
    windows = pad(inputs, module._reversed_padding_repeated_twice, mode=mode)
    for axis, (size, step, spread) in enumerate(
        zip(module.kernel_size, module.stride, module.dilation, strict=True), start=2
    ):
        windows = windows.unfold(axis, spread * (size - 1) + 1, step)[..., ::spread]
    return windows
