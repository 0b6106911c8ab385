"""Fashion-MNIST from the Debian package's files, or downloaded."""

import gzip
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from amc.errors import RefusedInput
from amc.zoo.data.dataset import RawData, Source, Split
from amc.zoo.data.download import Download, fetch_files, find_files

# Debian's files are compressed anew, so their digests differ from the published ones; their headers are checked.
DEBIAN_FOLDER = Path("/usr/share/datasets/fashion-mnist")
SITE = "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion"
MD5 = {
    "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
    "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
    "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
    "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
}
HINT = "install Debian's dataset-fashion-mnist, or set data.folder to where its four .gz files lie"
IMAGE_MAGIC, LABEL_MAGIC = 2051, 2049
MAX_BYTES = 1 << 28


def fashion_mnist(source: Source) -> RawData:
    """Load 60,000 training and 10,000 test images, ``(1, 32, 32)``, ten classes.

    Without a folder they come from the Debian package ``dataset-fashion-mnist``, else they are downloaded.

    References:
        Xiao et al., 2017, "Fashion-MNIST", arXiv 1708.07747.
    """
    if source.folder is not None:
        where = find_files(source.folder, list(MD5), HINT)
    elif DEBIAN_FOLDER.is_dir():
        where = DEBIAN_FOLDER
    else:
        files = [Download(name, f"{SITE}/{name}", md5) for name, md5 in MD5.items()]
        where = fetch_files(files, source.cache / "fashion_mnist", HINT)
    return RawData(read_split(where, "train"), read_split(where, "t10k"), num_classes=10)


def read_split(folder: Path, prefix: str) -> Split:
    """Read images, padded from 28x28 to 32x32 with black, and labels.

    Raises:
        RefusedInput: a file is damaged, or there are not as many labels as images.
    """
    images = read_idx(folder / f"{prefix}-images-idx3-ubyte.gz", IMAGE_MAGIC)
    labels = read_idx(folder / f"{prefix}-labels-idx1-ubyte.gz", LABEL_MAGIC)
    if len(images) != len(labels):
        raise RefusedInput(f"{folder}: {len(images)} {prefix} images but {len(labels)} labels")
    return Split(pad(images, (2, 2, 2, 2)).unsqueeze(1), labels.long())


def read_idx(path: Path, magic: int) -> Tensor:
    """Read a gzipped IDX file of bytes; the shape stands in its header.

    Raises:
        RefusedInput: the file is no IDX file of this kind, or its length is not what its header says.
    """
    try:
        with gzip.open(path) as file:
            content = file.read(MAX_BYTES)
    except (OSError, EOFError, zlib.error) as error:
        raise RefusedInput(f"{path}: cannot be read ({error})") from error
    found = int.from_bytes(content[:4], "big")
    dims = magic % 256
    if found != magic or len(content) < 4 + 4 * dims:
        raise RefusedInput(f"{path}: magic number {found}, expected {magic}: not an IDX file of this kind")
    shape = np.frombuffer(content, ">u4", dims, offset=4).astype(int)
    values = np.frombuffer(content, np.uint8, offset=4 + 4 * dims)
    if values.size != shape.prod():
        raise RefusedInput(f"{path}: holds {values.size} values, its header says {shape.tolist()}")
    return torch.from_numpy(values.reshape(shape).copy())
