"""One image file, brought to eight bits a channel: read rightly, or refused.

Files are data, and may have been made to do harm. Pillow is told which formats it may open, since others start programs
(an EPS named ``.png`` would start Ghostscript); only regular files are read, since a pipe would block for good; and
file, pixels and time are limited.
"""

import io
import os
import stat
import warnings
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from amc.errors import RefusedInput
from envs.engine.network.isolation import first_line
from envs.engine.network.time_limit import TimeIsUp, time_limit

FORMATS = {
    "BMP": (".bmp",),
    "GIF": (".gif",),
    "JPEG": (".jpeg", ".jpg"),
    "PNG": (".png",),
    "TIFF": (".tif", ".tiff"),
    "WEBP": (".webp",),
}
"""What may be read, and how such files are called; content counts, a PNG called ``.jpg`` is read."""
SUFFIXES = {suffix for suffixes in FORMATS.values() for suffix in suffixes}
MAX_BYTES = 256 << 20
MAX_SECONDS = 30.0
SIXTEEN_BITS = ("I;16", "I;16B", "I;16L", "I;16N")
"""Pillow's modes of grey with 16 bits; colour with 16 bits it brings to 8 rightly by itself."""
BITS_PER_SAMPLE, PHOTOMETRIC, SAMPLE_FORMAT = 258, 262, 339
"""Tags of TIFF."""
BLACK_IS_ZERO, UNSIGNED = 1, 1


def read_image(path: Path, size: int) -> Tensor:
    """Read one image as bytes, ``(3, size, size)``: scaled to cover the square and cut at its edges.

    Grey of 16 bits is scaled to 8. Where it is not known which value is white, as with floats, the image is refused.

    Raises:
        RefusedInput: the file is damaged, no image of a known kind, or so large that it may be an attack.
    """
    try:
        content = _regular_file(path)
        with time_limit(MAX_SECONDS), warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(content), formats=tuple(FORMATS)) as image:
                fitted = ImageOps.fit(_eight_bits(image).convert("RGB"), (size, size))
    except TimeIsUp as error:
        raise RefusedInput(f"{path}: cannot be read as an image (it takes more than {MAX_SECONDS:g} s)") from error
    except Exception as error:  # a damaged file fails in many ways
        raise RefusedInput(f"{path}: cannot be read as an image ({first_line(error)})") from error
    return torch.from_numpy(np.array(fitted)).permute(2, 0, 1).contiguous()


def _regular_file(path: Path) -> bytes:
    """Return the content of a regular file; a link to one is followed.

    Raises:
        OSError: it cannot be read.
        ValueError: it is something else, empty or too large.
    """
    # Opened first and asked then: what is asked about is what is read. Without O_NONBLOCK opening a pipe may block.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("it is not a regular file")
        if not 0 < status.st_size <= MAX_BYTES:
            raise ValueError(f"it has {status.st_size} bytes: must be from 1 to {MAX_BYTES}")
        return file.read(status.st_size)


def _eight_bits(image: Image.Image) -> Image.Image:
    """Return the image with eight bits a channel; Pillow's own conversion cuts larger values off.

    Raises:
        ValueError: it is not known which value is white.
    """
    _check_tiff(image)
    # Older versions of Pillow hold a PNG of 16 bits in 32.
    if image.mode in SIXTEEN_BITS or (image.mode == "I" and image.format == "PNG"):
        values = np.asarray(image).astype(np.uint32)
        return Image.fromarray(((values + 128) // 257).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise ValueError("it holds floats or whole numbers of 32 bits: convert it to 8 or 16 bits a channel")
    return image


def _check_tiff(image: Image.Image) -> None:
    """Refuse the kinds of TIFF that Pillow takes for others: 12 bits, signed numbers, 16 bits with white as zero."""
    tags = getattr(image, "tag_v2", None) if image.format == "TIFF" else None
    if tags is None:
        return
    bits, kinds = (tags.get(tag, (default,)) for tag, default in ((BITS_PER_SAMPLE, 1), (SAMPLE_FORMAT, UNSIGNED)))
    if max(bits) > 8 and set(bits) != {16}:
        raise ValueError(f"it has {max(bits)} bits a channel: convert it to 8 or 16")
    if set(kinds) != {UNSIGNED}:
        raise ValueError("it holds signed numbers or floats: convert it to whole numbers of 8 or 16 bits from 0")
    if image.mode in SIXTEEN_BITS and tags.get(PHOTOMETRIC) != BLACK_IS_ZERO:
        raise ValueError("its zero is white: convert it to 8 bits")
