"""CIFAR-10 in its binary form, which holds plain bytes and no pickle."""

import tarfile
from pathlib import Path

import numpy as np
import torch

from amc.errors import RefusedInput
from amc.zoo.data.dataset import RawData, Source, Split
from amc.zoo.data.download import Download, fetch_files, find_files

ARCHIVE = "cifar-10-binary.tar.gz"
FILE = Download(ARCHIVE, f"https://www.cs.toronto.edu/~kriz/{ARCHIVE}", "c32a1d4ab5d03f1284b67883e8d87530")
HINT = f"fetch {ARCHIVE} by hand and set data.folder to where it lies"
MEMBERS = "cifar-10-batches-bin"
TRAIN = [f"{MEMBERS}/data_batch_{number}.bin" for number in range(1, 6)]
TEST = [f"{MEMBERS}/test_batch.bin"]
RECORD_BYTES = 1 + 3 * 32 * 32
BATCH_BYTES = 10_000 * RECORD_BYTES


def cifar10(source: Source) -> RawData:
    """Load 50,000 training and 10,000 test images, ``(3, 32, 32)``, ten classes.

    References:
        Krizhevsky, 2009, "Learning Multiple Layers of Features from Tiny Images".
    """
    if source.folder is not None:
        where = find_files(source.folder, [ARCHIVE], HINT)
    else:
        where = fetch_files([FILE], source.cache / "cifar10", HINT)
    return RawData(read_split(where / ARCHIVE, TRAIN), read_split(where / ARCHIVE, TEST), num_classes=10)


def read_split(archive: Path, members: list[str]) -> Split:
    """Read the images and labels of some files of the archive; nothing is unpacked to disk.

    Raises:
        RefusedInput: the archive is damaged, lacks a file, or a file is too long or short.
    """
    try:
        with tarfile.open(archive, "r:gz") as tar:
            content = b"".join(_read_member(tar, name) for name in members)
    except (OSError, EOFError, tarfile.TarError, KeyError) as error:
        raise RefusedInput(f"{archive}: cannot be read ({error})") from error
    records = torch.from_numpy(np.frombuffer(content, np.uint8).reshape(-1, RECORD_BYTES).copy())
    labels = records[:, 0].long()
    if int(labels.max()) > 9:
        raise RefusedInput(f"{archive}: holds a label {int(labels.max())}, there are ten classes")
    return Split(records[:, 1:].reshape(-1, 3, 32, 32).contiguous(), labels)


def _read_member(tar: tarfile.TarFile, name: str) -> bytes:
    file = tar.extractfile(name)
    content = b"" if file is None else file.read(BATCH_BYTES + 1)
    if len(content) != BATCH_BYTES:
        raise RefusedInput(f"{ARCHIVE}: {name} is not {BATCH_BYTES} bytes long")
    return content
