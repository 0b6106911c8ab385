import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from envs.workers.parcel import Parcel, open_parcel, pack, unpack, write_parcel


def through_a_file(value: object, times: int = 1) -> list[Any]:
    with tempfile.TemporaryFile() as file:
        write_parcel(pack(value), file)
        return [unpack(open_parcel(file.fileno())) for _ in range(times)]


def in_memory(value: object) -> list[Any]:
    parcel = pack(value)
    return [unpack(Parcel(parcel.rest, [bytearray(memoryview(each)) for each in parcel.tensors]))]


@pytest.mark.parametrize("send", [through_a_file, in_memory])
def test_tensors_arrive_as_they_were(send: Callable[[object], list[Any]]) -> None:
    sent = {
        "view": torch.arange(24.0).reshape(4, 6)[1:, ::2],
        "image": torch.rand(2, 3, 4, 5).contiguous(memory_format=torch.channels_last),
        "none": torch.empty(0, 3),
        "half": torch.ones(3, dtype=torch.bfloat16),
        "right": torch.tensor([True, False]),
        "count": torch.tensor(3),
        "weight": nn.Parameter(torch.rand(2)),
    }
    (arrived,) = send(sent)
    for name, tensor in sent.items():
        assert torch.equal(arrived[name], tensor)
        assert arrived[name].dtype == tensor.dtype
        assert arrived[name].stride() == tensor.stride()
        assert type(arrived[name]) is type(tensor)


def test_what_was_shared_is_shared() -> None:
    network = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 3))
    network[2].weight = network[0].weight
    ((arrived, row),) = through_a_file((network, network[0].weight.detach()[1]))
    assert arrived[2].weight is arrived[0].weight
    with torch.no_grad():
        arrived[0].weight.zero_()
    assert (row == 0).all()
    assert len(pack(network).tensors) == 3


def test_one_who_writes_changes_nothing_for_others() -> None:
    one, other = through_a_file(torch.ones(5000), times=2)
    one.zero_()
    assert (other == 1).all()


def test_functions_without_a_name_go_along(tmp_path: Path) -> None:
    factor = 3
    (arrived,) = through_a_file({"score": lambda number: factor * number, "folder": tmp_path})
    assert arrived["score"](2) == 6
    assert arrived["folder"] == tmp_path
