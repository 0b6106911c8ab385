"""Networks of files from outside take no more memory than the file can be worth."""

import resource

import pytest
import torch
from torch import nn

from amc.weights.allocation import AllocationLimit


def test_a_network_that_is_too_large_is_refused_before_it_takes_memory() -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ValueError, match="more than 64 MB"), AllocationLimit(64 << 20):
        nn.Linear(1 << 17, 1 << 17)  # 64 GB
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1 << 20  # kilobytes


def test_many_small_tensors_count_together() -> None:
    with pytest.raises(ValueError, match="more than 8 MB"), AllocationLimit(8 << 20):
        nn.Sequential(*(nn.Linear(256, 1024) for _ in range(100)))


def test_one_tensor_may_be_limited_more() -> None:
    image = torch.zeros(1, 1, 512, 512)
    wide = nn.Conv2d(1, 64, 3, padding=1)
    with torch.inference_mode(), AllocationLimit(1 << 30, each=64 << 20):
        assert wide(image).shape == (1, 64, 512, 512)
    with (
        torch.inference_mode(),
        pytest.raises(ValueError, match="more than 63 MB"),
        AllocationLimit(1 << 30, each=63 << 20),
    ):
        wide(image)


def test_what_fits_is_built_as_without_a_limit() -> None:
    def build() -> nn.Module:
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Flatten(), nn.LSTM(8, 4))

    with AllocationLimit(1 << 20):
        limited = build().state_dict()
    assert all(torch.equal(tensor, limited[name]) for name, tensor in build().state_dict().items())
