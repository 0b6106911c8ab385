"""Any images, sorted into one folder a class."""

from pathlib import Path

import torch

from amc.errors import ConfigError
from amc.measurement.memory import Demand, available_memory, check_fits
from amc.zoo.data.dataset import RawData, Source, Split
from amc.zoo.data.image_file import SUFFIXES, read_image


def image_folder(source: Source) -> RawData:
    """Load ``train/<class>/*`` and ``test/<class>/*`` of a folder as colour images, ``(3, size, size)``.

    Images are scaled to cover the square of ``source.image_size`` pixels and cut at its edges. Classes are
    numbered in the order of their folders' names.

    Raises:
        ConfigError: there is no such folder, it has no classes, or train and test have different ones.
    """
    if source.folder is None or source.image_size is None:
        raise ConfigError("data=image_folder needs data.folder and data.image_size, such as 64")
    root = Path(source.folder).expanduser()
    classes = _classes(root / "train", source.folder)
    if _classes(root / "test", source.folder) != classes:
        raise ConfigError(f"data.folder={source.folder}: train/ and test/ hold folders for different classes")
    train, test = (read_split(root / part, classes, source.image_size) for part in ("train", "test"))
    return RawData(train, test, num_classes=len(classes))


def read_split(folder: Path, classes: list[str], size: int) -> Split:
    """Read all images of the folders of some classes, in the order of their names.

    Raises:
        ConfigError: a class has no image, or all would not fit into memory.
        RefusedInput: a file is no image that can be read rightly.
    """
    paths: list[Path] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        found = sorted(path for path in (folder / name).iterdir() if path.suffix.lower() in SUFFIXES)
        if not found:
            raise ConfigError(f"{folder / name} holds no image ({', '.join(sorted(SUFFIXES))})")
        paths += found
        labels += [label] * len(found)
    size_of_split = 3 * size * size * len(paths)
    check_fits([Demand(f"data.image_size={size}", size_of_split, f"{len(paths)} images")], available_memory())
    images = torch.empty((len(paths), 3, size, size), dtype=torch.uint8)
    for number, path in enumerate(paths):
        images[number] = read_image(path, size)
    return Split(images, torch.tensor(labels))


def _classes(folder: Path, given: str) -> list[str]:
    if not folder.is_dir():
        raise ConfigError(f"data.folder={given} lacks a folder {folder.name}/ with one folder of images for each class")
    classes = sorted(path.name for path in folder.iterdir() if path.is_dir())
    if len(classes) < 2:
        raise ConfigError(f"{folder} holds {len(classes)} folders of images; at least two classes are needed")
    return classes
