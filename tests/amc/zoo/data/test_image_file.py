"""Image files of every depth against the values they were made from, and files made to do harm."""

import gc
import io
import os
import socket
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from amc.errors import RefusedInput
from amc.zoo.data import image_file
from amc.zoo.data.image_file import read_image

SIZE = 16
RAMP = np.linspace(0, 65535, SIZE * SIZE).round().astype(np.uint16).reshape(SIZE, SIZE)
"""Grey from black to white."""


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width: int, height: int, depth: int, colour: int, rows: bytes) -> bytes:
    """A PNG as its specification describes it; ``rows`` are the bytes of all pixels."""
    stride = len(rows) // height
    filtered = b"".join(b"\0" + rows[start : start + stride] for start in range(0, len(rows), stride))
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(filtered)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def tiff(bits: int, photometric: int, sample_format: int, strip: bytes) -> bytes:
    """An uncompressed grey TIFF of SIZE x SIZE as its specification describes it, little-endian."""
    entries = [
        (256, 3, SIZE),
        (257, 3, SIZE),
        (258, 3, bits),
        (259, 3, 1),
        (262, 3, photometric),
        (273, 4, 8 + 2 + 12 * 10 + 4),
        (277, 3, 1),
        (278, 3, SIZE),
        (279, 4, len(strip)),
        (339, 3, sample_format),
    ]
    directory = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in entries)
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + directory + struct.pack("<I", 0) + strip


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("grey.png", png(SIZE, SIZE, 16, 0, RAMP.astype(">u2").tobytes())),
        ("colour.png", png(SIZE, SIZE, 16, 2, np.stack([RAMP] * 3, -1).astype(">u2").tobytes())),
        ("grey_alpha.png", png(SIZE, SIZE, 16, 4, np.stack([RAMP, RAMP * 0 + 65535], -1).astype(">u2").tobytes())),
        ("grey.tif", tiff(16, 1, 1, RAMP.astype("<u2").tobytes())),
        ("eight.tif", tiff(8, 1, 1, (RAMP // 257).astype(np.uint8).tobytes())),
        ("inverted.tif", tiff(8, 0, 1, (255 - RAMP // 257).astype(np.uint8).tobytes())),
    ],
)
def test_every_depth_becomes_eight_bits(name: str, content: bytes, tmp_path: Path) -> None:
    read = read_image(written(tmp_path / name, content), SIZE).numpy().astype(float)
    assert read.shape == (3, SIZE, SIZE)
    # 65535 is white, so a value is 257 times what it is in eight bits; rounding may be down.
    assert np.abs(read - RAMP / 257).max() <= 1.0
    assert read.max() == 255


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (tiff(32, 1, 3, (RAMP / 65535).astype("<f4").tobytes()), "convert"),
        (tiff(32, 1, 3, np.full((SIZE, SIZE), np.nan, "<f4").tobytes()), "convert"),
        (tiff(32, 1, 1, RAMP.astype("<u4").tobytes()), "32 bits"),
        (tiff(16, 1, 2, RAMP.astype("<u2").tobytes()), "signed"),
        (tiff(8, 1, 2, (RAMP // 257).astype(np.uint8).tobytes()), "signed"),
        (tiff(16, 0, 1, RAMP.astype("<u2").tobytes()), "zero is white"),
        (tiff(12, 1, 1, bytes(SIZE * SIZE * 3 // 2)), "12 bits"),
    ],
)
def test_a_depth_without_a_known_white_is_refused(content: bytes, said: str, tmp_path: Path) -> None:
    with pytest.raises(RefusedInput, match=said):
        read_image(written(tmp_path / "image.tif", content), SIZE)


def test_no_other_format_is_opened(tmp_path: Path) -> None:
    """Pillow hands an EPS to Ghostscript, whatever the file is called."""
    picture = Image.new("RGB", (SIZE, SIZE))
    for kind in ("EPS", "PPM", "ICO", "PCX", "TGA"):
        buffer = io.BytesIO()
        picture.save(buffer, kind)
        with pytest.raises(RefusedInput, match="cannot identify"):
            read_image(written(tmp_path / "image.png", buffer.getvalue()), SIZE)


def test_only_regular_files_are_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "device.png").symlink_to("/dev/zero")
    (tmp_path / "empty.png").touch()
    (tmp_path / "kernel.png").symlink_to("/proc/self/environ")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "s.png"))
        for name in ("pipe", "folder", "device", "empty", "kernel", "s", "missing"):
            with pytest.raises(RefusedInput, match=f"{name}.png"):
                read_image(tmp_path / f"{name}.png", SIZE)


def test_a_link_to_an_image_is_read(tmp_path: Path) -> None:
    Image.new("RGB", (SIZE, SIZE), (1, 2, 3)).save(tmp_path / "image.png")
    (tmp_path / "link.png").symlink_to("image.png")
    assert read_image(tmp_path / "link.png", SIZE)[:, 0, 0].tolist() == [1, 2, 3]


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    rows = zlib.compress(bytes(1 << 20))
    header = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    with pytest.raises(RefusedInput, match="bomb"):
        read_image(written(tmp_path / "bomb.png", bomb), SIZE)


def test_a_large_file_is_refused_unread(tmp_path: Path) -> None:
    with (tmp_path / "large.png").open("wb") as file:
        file.truncate(image_file.MAX_BYTES + 1)
    with pytest.raises(RefusedInput, match="bytes"):
        read_image(tmp_path / "large.png", SIZE)


def test_an_image_that_takes_too_long_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_file, "MAX_SECONDS", 1e-6)
    Image.effect_noise((3000, 3000), 50).save(tmp_path / "slow.png")
    gc.disable()  # raised in a callback of the collector it would be lost, and said to be
    try:
        with pytest.raises(RefusedInput, match="takes more than"):
            read_image(tmp_path / "slow.png", SIZE)
    finally:
        gc.enable()
