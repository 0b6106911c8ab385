from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from amc.errors import ConfigError, RefusedInput, UserError
from amc.zoo.data.dataset import RawData, Split, Splits, make_splits, normalization_of
from amc.zoo.data.own_splits import as_splits

GENERATOR = torch.Generator().manual_seed(0)
BYTES = torch.randint(0, 256, (60, 3, 4, 4), dtype=torch.uint8, generator=GENERATOR)
LABELS = torch.arange(60) % 5


def splits(found: object) -> Splits:
    return as_splits(found, calibration=10, search=20, seed=0)


def test_a_pair_is_cut_as_the_data_of_the_registry() -> None:
    expected = make_splits(RawData(Split(BYTES, LABELS), Split(BYTES[:7], LABELS[:7]), 5), 10, 20, 0)
    for found in (
        ((BYTES, LABELS), (BYTES[:7], LABELS[:7])),
        [[BYTES.numpy(), LABELS.int().numpy()], [BYTES[:7].numpy(), LABELS[:7].tolist()]],
        RawData(Split(BYTES, LABELS), Split(BYTES[:7], LABELS[:7]), 5),
    ):
        made = splits(found)
        assert made.num_classes == expected.num_classes
        for name in ("train", "calibration", "search", "test"):
            for a, b in zip(getattr(made, name), getattr(expected, name), strict=True):
                assert a.dtype == b.dtype
                assert torch.equal(a, b)
        assert torch.equal(made.normalize.mean, expected.normalize.mean)


def test_bytes_are_normalised_as_they_are_asked_to_be() -> None:
    found = ((BYTES, LABELS), (BYTES[:7], LABELS[:7]))
    made = as_splits(found, 10, 20, 0, normalization_of([0.5, 0.25, 0.0], [0.5, 0.25, 1.0]))
    # As torchvision has it: (ToTensor(x) - mean) / std.
    mean, std = (torch.tensor(each).view(1, 3, 1, 1) for each in ([0.5, 0.25, 0.0], [0.5, 0.25, 1.0]))
    torch.testing.assert_close(made.normalize(BYTES), (BYTES / 255 - mean) / std)
    with pytest.raises(ConfigError, match=r"data\.mean: 1 values for images of 3 colours"):
        as_splits(found, 10, 20, 0, normalization_of([0.5], [0.5]))
    floats = BYTES.float()
    with pytest.raises(ConfigError, match=r"data\.mean: goes with images of bytes"):
        as_splits(((floats, LABELS), (floats, LABELS)), 10, 20, 0, normalization_of([0.5], [0.5]))
    with pytest.raises(ConfigError, match=r"data\.mean: Splits are normalised already"):
        as_splits(made, 10, 20, 0, normalization_of([0.5], [0.5]))


def test_floats_reach_the_network_as_they_are() -> None:
    images = torch.randn(60, 1, 4, 4, generator=GENERATOR, dtype=torch.float64) * 0.01
    made = splits(((images, LABELS), (images, LABELS), 9))
    assert made.num_classes == 9
    assert torch.equal(made.normalize(made.test.images), images.float())


def test_splits_are_taken_as_they_are() -> None:
    own = splits(((BYTES, LABELS), (BYTES, LABELS)))
    assert splits(own) is own


def pair(images: object = BYTES, labels: object = LABELS) -> tuple[object, object]:
    return (images, labels), (BYTES, LABELS)


@pytest.mark.parametrize(
    ("found", "kind", "said"),
    [
        (None, ConfigError, "not a NoneType"),
        ((BYTES,), ConfigError, "not a tuple of 1"),
        ((BYTES, LABELS), ConfigError, "train is a Tensor"),
        (pair(labels="abc"), ConfigError, "train labels are a str"),
        ((*pair(), "five"), ConfigError, "number of classes is 'five'"),
        (pair(images=[[1], [2, 3]]), RefusedInput, "train images are no array"),
        (pair(labels=LABELS.float()), RefusedInput, "train labels are float32"),
        (pair(labels=LABELS.view(-1, 1)), RefusedInput, r"\(60, 1\): must be whole numbers"),
        (pair(images=BYTES[0]), RefusedInput, r"\(n, channels, height, width\)"),
        (pair(images=BYTES.int()), RefusedInput, "train images are int32"),
        (pair(images=BYTES[:, :1]), RefusedInput, "must be alike"),
        (pair(images=BYTES.float()), RefusedInput, "must be alike"),
        (pair(images=BYTES[:59]), RefusedInput, "59 images and 60 labels"),
        (pair(labels=LABELS - 1), RefusedInput, "from -1 to 3"),
        (((BYTES, LABELS), (BYTES, LABELS + 1)), RefusedInput, "test labels go from 1 to 5"),
        (((BYTES / np.nan, LABELS), (BYTES / 1.0, LABELS)), RefusedInput, "not finite"),
        (((BYTES[:25], LABELS[:25]), (BYTES, LABELS)), ConfigError, "do not fit into 25"),
    ],
)
def test_one_line_says_what_is_wrong_with_the_data(found: object, kind: type[UserError], said: str) -> None:
    with pytest.raises(kind, match=said) as error:
        splits(found)
    assert "\n" not in str(error.value)


def keep(split: Split) -> Split:
    return split


def without_labels(split: Split) -> Split:
    return Split(split.images, split.labels[:1])


@pytest.mark.parametrize(("change", "fine"), [(keep, True), (without_labels, False)])
def test_ready_made_splits_are_checked(change: Callable[[Split], Split], fine: bool) -> None:
    own = splits(((BYTES, LABELS), (BYTES, LABELS)))
    changed = Splits(own.train, own.calibration, change(own.search), own.test, own.num_classes, own.normalize)
    if fine:
        assert splits(changed) is changed
    else:
        with pytest.raises(RefusedInput, match="search has 20 images and 1 labels"):
            splits(changed)


def test_the_same_seed_cuts_the_same_images() -> None:
    found: tuple[tuple[Tensor, Tensor], ...] = ((BYTES, LABELS), (BYTES, LABELS))
    a, b, c = (as_splits(found, 10, 20, seed) for seed in (0, 0, 1))
    assert torch.equal(a.search.images, b.search.images)
    assert not torch.equal(a.search.images, c.search.images)
