"""Batch norms measured anew: against torch's own cumulative average, whatever the number of threads."""

import copy
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from envs.engine.repair.adaptive_bn import recalibrate_batch_norms
from envs.engine.scoring.precision import running_in

CPU = torch.device("cpu")


class Twice(nn.Module):
    """Calls one of its norms twice."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.next = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.norm, self.plain = nn.BatchNorm2d(8, momentum=0.3), nn.BatchNorm2d(8, track_running_stats=False)

    def forward(self, images: Tensor) -> Tensor:
        return self.plain(self.norm(self.next(self.norm(self.conv(images)).relu())))


@pytest.fixture(params=[1, 2, 5])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def make() -> tuple[Twice, Tensor]:
    torch.manual_seed(0)
    return Twice().eval(), torch.randn(45, 3, 8, 8)


def test_statistics_are_torchs_cumulative_average_over_the_batches(threads: int) -> None:
    network, images = make()
    expected = copy.deepcopy(network)
    expected.norm.reset_running_stats()
    expected.norm.momentum = None
    expected.norm.train()
    with torch.no_grad():
        for batch in images.split(15):
            expected(batch)
    recalibrate_batch_norms(network, images, 15)
    torch.testing.assert_close(network.norm.running_mean, expected.norm.running_mean)
    torch.testing.assert_close(network.norm.running_var, expected.norm.running_var)
    assert network.norm.momentum == 0.3
    assert not any(module.training for module in network.modules())
    assert torch.get_num_threads() == threads


def test_they_are_the_same_to_the_last_bit_with_any_number_of_threads() -> None:
    found = []
    before = torch.get_num_threads()
    for number in (1, 2, 3):
        network, images = make()
        torch.set_num_threads(number)
        try:
            with running_in("bf16", CPU):
                recalibrate_batch_norms(network, images, 10)
        finally:
            torch.set_num_threads(before)
        found.append(network.norm)
    for other in found[1:]:
        assert torch.equal(other.running_mean, found[0].running_mean)
        assert torch.equal(other.running_var, found[0].running_var)


def test_an_error_leaves_the_network_as_it_was() -> None:
    network, images = make()
    network.norm(torch.randn(4, 8, 2, 2))
    before = copy.deepcopy(network.state_dict())
    with pytest.raises(RuntimeError):
        recalibrate_batch_norms(network, images[:, :2], 10)
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert not network.norm.training


def test_a_network_without_batch_norms_is_left_alone() -> None:
    recalibrate_batch_norms(nn.Linear(2, 2), torch.ones(3, 2), 2)
