"""Each data set, on small files of its published format."""

import gzip
import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from amc.errors import ConfigError, RefusedInput
from amc.zoo.data.cifar10 import ARCHIVE, TEST, TRAIN, cifar10
from amc.zoo.data.dataset import RawData, Source, Split, make_splits
from amc.zoo.data.digits import digits
from amc.zoo.data.fashion_mnist import DEBIAN_FOLDER, fashion_mnist
from amc.zoo.data.image_folder import image_folder

NOWHERE = Path("/nonexistent")


def random_data(train: int = 40, test: int = 10) -> RawData:
    def split(count: int) -> Split:
        generator = torch.Generator().manual_seed(count)
        images = torch.randint(0, 256, (count, 2, 4, 4), generator=generator, dtype=torch.uint8)
        return Split(images, torch.arange(count) % 3)

    return RawData(split(train), split(test), 3)


def test_splits_are_disjoint_and_their_input_is_normalised() -> None:
    raw = random_data()
    splits = make_splits(raw, calibration=5, search=10, seed=0)
    seen = {tuple(image.flatten().tolist()) for image in splits.train.images}
    assert (len(splits.train.labels), len(splits.search.labels), len(splits.calibration.labels)) == (30, 10, 5)
    assert all(tuple(image.flatten().tolist()) not in seen for image in splits.search.images)
    assert all(tuple(image.flatten().tolist()) in seen for image in splits.calibration.images)
    inputs = splits.normalize(splits.train.images)
    assert torch.allclose(inputs.mean((0, 2, 3)), torch.zeros(2), atol=1e-5)
    assert torch.allclose(inputs.std((0, 2, 3)), torch.ones(2), atol=1e-3)
    assert torch.equal(splits.test.images, raw.test.images)


def test_splits_follow_the_seed() -> None:
    first, again, other = (make_splits(random_data(), 5, 10, seed).search.images for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize(("calibration", "search"), [(31, 10), (5, 40), (0, 10), (5, 0)])
def test_splits_that_do_not_fit_are_refused(calibration: int, search: int) -> None:
    with pytest.raises(ConfigError, match=f"data.search={search}"):
        make_splits(random_data(), calibration, search, 0)


def test_digits_are_all_there_and_every_class_is_in_both_parts() -> None:
    raw = digits(Source(None, NOWHERE))
    assert (len(raw.train.labels), len(raw.test.labels)) == (1300, 497)
    assert raw.train.images.shape[1:] == (1, 8, 8)
    assert raw.train.images.max() == 255
    for part in (raw.train, raw.test):
        assert part.labels.bincount().min() >= 40


def idx(values: np.ndarray) -> bytes:
    """The IDX format as its author describes it: two zero bytes, type 8 (bytes), dimensions, sizes, values."""
    header = bytes([0, 0, 8, values.ndim]) + b"".join(size.to_bytes(4, "big") for size in values.shape)
    return gzip.compress(header + values.astype(np.uint8).tobytes())


@pytest.fixture
def fashion_folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for prefix, count in (("train", 6), ("t10k", 3)):
        (tmp_path / f"{prefix}-images-idx3-ubyte.gz").write_bytes(idx(rng.integers(0, 256, (count, 28, 28))))
        (tmp_path / f"{prefix}-labels-idx1-ubyte.gz").write_bytes(idx(np.arange(count)))
    return tmp_path


def test_fashion_mnist_is_read_and_padded(fashion_folder: Path) -> None:
    raw = fashion_mnist(Source(str(fashion_folder), NOWHERE))
    expected = np.random.default_rng(0).integers(0, 256, (6, 28, 28))
    assert raw.train.images.shape == (6, 1, 32, 32)
    assert np.array_equal(raw.train.images[:, 0, 2:30, 2:30].numpy(), expected)
    assert raw.train.images.sum() == expected.sum()
    assert raw.test.labels.tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[:-20],
        lambda _: b"not gzip",
        lambda _: gzip.compress(b"\x00\x00\x08\x01" + b"\x00" * 30),
        lambda _: gzip.compress(b"\x00\x00\x08\x03" + b"\x00\x00\x00\x02" * 3 + b"\x00" * 7),
        lambda _: gzip.compress(b"\x00\x00\x08\x03"),
        lambda _: idx(np.zeros((5, 28, 28))),
    ],
)
def test_damaged_fashion_mnist_is_refused(damage: Callable[[bytes], bytes], fashion_folder: Path) -> None:
    path = fashion_folder / "train-images-idx3-ubyte.gz"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(RefusedInput, match=str(fashion_folder)):
        fashion_mnist(Source(str(fashion_folder), NOWHERE))


@pytest.mark.skipif(not DEBIAN_FOLDER.is_dir(), reason="needs Debian's dataset-fashion-mnist")
def test_the_debian_package_is_found() -> None:
    raw = fashion_mnist(Source(None, NOWHERE))
    assert raw.train.labels.bincount().tolist() == [6000] * 10
    assert raw.test.labels.bincount().tolist() == [1000] * 10


def write_cifar10(folder: Path, members: dict[str, bytes]) -> None:
    with tarfile.open(folder / ARCHIVE, "w:gz", compresslevel=1) as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


def cifar10_batch(label: int) -> bytes:
    """Ten thousand records: a label, then the red, the green and the blue plane."""
    return (bytes([label]) + bytes([10]) * 1024 + bytes([20]) * 1024 + bytes([30]) * 1024) * 10_000


def test_cifar10_is_read(tmp_path: Path) -> None:
    write_cifar10(tmp_path, {name: cifar10_batch(label) for label, name in enumerate([*TRAIN, *TEST])})
    raw = cifar10(Source(str(tmp_path), NOWHERE))
    assert raw.train.images.shape == (50_000, 3, 32, 32)
    assert raw.train.labels[::10_000].tolist() == [0, 1, 2, 3, 4]
    assert raw.test.labels.unique().tolist() == [5]
    assert raw.test.images[0, :, 7, 9].tolist() == [10, 20, 30]


@pytest.mark.parametrize("content", [b"", cifar10_batch(3)[:-1], cifar10_batch(3) + b"x", cifar10_batch(11)])
def test_damaged_cifar10_is_refused(content: bytes, tmp_path: Path) -> None:
    write_cifar10(tmp_path, dict.fromkeys([*TRAIN, *TEST], content))
    with pytest.raises(RefusedInput, match="cifar-10-binary"):
        cifar10(Source(str(tmp_path), NOWHERE))


def test_an_incomplete_cifar10_archive_is_refused(tmp_path: Path) -> None:
    write_cifar10(tmp_path, {"other": b"content"})
    with pytest.raises(RefusedInput, match="cifar-10-binary"):
        cifar10(Source(str(tmp_path), NOWHERE))


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    for part, count in (("train", 3), ("test", 1)):
        for name, colour in (("cats", (255, 0, 0)), ("dogs", (0, 0, 255))):
            folder = tmp_path / part / name
            folder.mkdir(parents=True)
            for number in range(count):
                Image.new("RGB", (20 + number, 10), colour).save(folder / f"{number}.png")
    return tmp_path


def test_images_are_brought_to_one_size_and_classes_follow_names(pictures: Path) -> None:
    Image.new("L", (9, 9), 128).save(pictures / "train" / "dogs" / "grey.jpg")
    (pictures / "train" / "dogs" / "notes.txt").touch()
    raw = image_folder(Source(str(pictures), NOWHERE, image_size=8))
    assert raw.train.images.shape == (7, 3, 8, 8)
    assert raw.train.labels.tolist() == [0, 0, 0, 1, 1, 1, 1]
    assert raw.test.images[:, :, 4, 4].tolist() == [[255, 0, 0], [0, 0, 255]]
    assert raw.num_classes == 2


def test_a_damaged_image_is_named(pictures: Path) -> None:
    (pictures / "train" / "cats" / "0.png").write_bytes(b"\x89PNG no more")
    with pytest.raises(RefusedInput, match=r"cats/0\.png"):
        image_folder(Source(str(pictures), NOWHERE, image_size=8))


@pytest.mark.parametrize("missing", ["train", "test", "train/cats", "test/dogs"])
def test_an_incomplete_folder_is_a_config_error(missing: str, pictures: Path) -> None:
    (pictures / missing).rename(pictures / "elsewhere")
    with pytest.raises(ConfigError, match=r"train|test"):
        image_folder(Source(str(pictures), NOWHERE, image_size=8))


def test_a_class_without_images_is_a_config_error(pictures: Path) -> None:
    (pictures / "test" / "cats" / "0.png").unlink()
    with pytest.raises(ConfigError, match="test/cats holds no image"):
        image_folder(Source(str(pictures), NOWHERE, image_size=8))


def test_a_folder_and_a_size_must_be_given() -> None:
    with pytest.raises(ConfigError, match=r"data\.folder"):
        image_folder(Source(None, NOWHERE))
