"""Image folders with something else in them than two classes of honest pictures."""

import io
import os
import struct
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image


def honest_images(folder: Path) -> None:
    """Make an image folder of two classes."""
    rng = np.random.default_rng(0)
    for split in ("train", "test"):
        for label in ("cat", "dog"):
            (folder / split / label).mkdir(parents=True)
            for number in range(4):
                pixels = rng.integers(0, 256, (8, 8, 3)).astype(np.uint8)
                Image.fromarray(pixels).save(folder / split / label / f"{number}.png")


def _with(content: bytes | Callable[[Path], object], name: str, folder: Path) -> None:
    honest_images(folder)
    path = folder / "train" / "cat" / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        content(path)


def _encoded(mode: str, size: tuple[int, int], kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, size).save(buffer, kind)
    return buffer.getvalue()


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def _png(width: int, height: int, *more: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = _chunk(b"IDAT", zlib.compress(bytes(1 << 20)))
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + b"".join(more) + body + _chunk(b"IEND", b"")


def _float_tiff(value: float) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.full((8, 8), value, np.float32)).save(buffer, "TIFF")
    return buffer.getvalue()


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n(canary) (w) file closefile\nshowpage\n%%EOF\n"
SVG = b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>"


def _class_named(name: str, folder: Path) -> None:
    honest_images(folder)
    (folder / "train" / name).mkdir()
    Image.new("RGB", (8, 8)).save(folder / "train" / name / "0.png")


IMAGE_FOLDERS: dict[str, Callable[[Path], None]] = {
    "EPS called PNG": partial(_with, EPS, "a.png"),
    "EPS called JPEG": partial(_with, EPS, "a.jpg"),
    "SVG called PNG": partial(_with, SVG, "a.png"),
    "a pipe": partial(_with, os.mkfifo, "a.png"),
    "a device": partial(_with, lambda path: path.symlink_to("/dev/zero"), "a.png"),
    "a loop of links": partial(_with, lambda path: path.symlink_to(path), "a.png"),
    "a folder": partial(_with, lambda path: path.mkdir(), "a.png"),
    "empty": partial(_with, b"", "a.png"),
    "cut": partial(_with, _encoded("RGB", (64, 64), "PNG")[:60], "a.png"),
    "2.5 gigapixels": partial(_with, _png(50_000, 50_000), "a.png"),
    "4 billion wide": partial(_with, _png((1 << 31) - 1, 1), "a.png"),
    "a huge text in it": partial(_with, _png(8, 8, _chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(1 << 28)))), "a.png"),
    "no pixels": partial(_with, _png(0, 0), "a.png"),
    "float TIFF, NaN": partial(_with, _float_tiff(float("nan")), "a.tiff"),
    "float TIFF, 1e30": partial(_with, _float_tiff(1e30), "a.tiff"),
    "16 bits": partial(_with, _encoded("I;16", (8, 8), "PNG"), "a.png"),
    "32 bits": partial(_with, _encoded("I", (8, 8), "TIFF"), "a.tiff"),
    "CMYK": partial(_with, _encoded("CMYK", (8, 8), "JPEG"), "a.jpg"),
    "palette": partial(_with, _encoded("P", (8, 8), "GIF"), "a.gif"),
    "ICO called PNG": partial(_with, _encoded("RGB", (16, 16), "ICO"), "a.png"),
    "PDF called PNG": partial(_with, _encoded("RGB", (16, 16), "PDF"), "a.png"),
    "class with a newline": partial(_class_named, "a\nb"),
    "class with control bytes": partial(_class_named, "\x1b[31mred"),
    "class of markup": partial(_class_named, "<script>alert(1)<"),
    "class that is no UTF-8": partial(_class_named, os.fsdecode(b"\xff\xfe")),
}
"""By name, what makes such a folder."""
