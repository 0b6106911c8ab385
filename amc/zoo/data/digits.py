"""The 8x8 handwritten digits that ship inside scikit-learn: no download, no account."""

import torch

from amc.zoo.data.dataset import RawData, Source, Split

TEST_IMAGES = 497


def digits(_: Source) -> RawData:
    """Load 1,300 training and 497 test images, ``(1, 8, 8)``, ten classes.

    scikit-learn's copy is in the order of its writers and has no test set of its own. The same 497 images, drawn
    once from all writers, are the test set here, whatever the seed of a run.

    References:
        Alpaydin and Kaynak, 1998, "Optical Recognition of Handwritten Digits", UCI Machine Learning Repository.
    """
    # A quarter of what a start takes, and other data does not need it.
    from sklearn.datasets import load_digits

    data = load_digits()
    order = torch.randperm(len(data.target), generator=torch.Generator().manual_seed(0))
    images = torch.from_numpy(data.images * (255 / 16)).round().to(torch.uint8).unsqueeze(1)
    everything = Split(images, torch.from_numpy(data.target).long())
    return RawData(
        train=everything.take(order[TEST_IMAGES:]), test=everything.take(order[:TEST_IMAGES]), num_classes=10
    )
