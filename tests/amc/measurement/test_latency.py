import time

import pytest
import torch
from torch import Tensor, nn

from amc.measurement.latency import measure_latency


class Sleep(nn.Module):
    """Takes a known time, and notes when it runs."""

    def __init__(self, name: str, seconds: float, calls: list[str]) -> None:
        super().__init__()
        self.name, self.seconds, self.calls = name, seconds, calls

    def forward(self, images: Tensor) -> Tensor:
        self.calls.append(self.name)
        assert torch.is_inference_mode_enabled()
        assert torch.get_num_threads() == 1
        time.sleep(self.seconds)
        return images


def test_medians_are_the_time_of_a_pass() -> None:
    models = {name: Sleep(name, seconds, []).eval() for name, seconds in (("short", 0.002), ("long", 0.01))}
    short, long = measure_latency(models, torch.zeros(4, 1), rounds=11)
    assert (short.network, long.network) == ("short", "long")
    assert short.batch == long.batch == 4
    assert short.rounds == 11
    # Sleeping ends late on a busy machine, never early.
    assert 2 <= short.low_ms <= short.median_ms <= short.high_ms
    assert long.low_ms >= 10
    assert short.median_ms < long.median_ms


def test_models_take_turns_each_behind_itself() -> None:
    calls: list[str] = []
    models = {name: Sleep(name, 0, calls).eval() for name in "abc"}
    measure_latency(models, torch.zeros(1, 1), rounds=12)
    assert "".join(calls[-72:]) == "aabbccbbccaaccaabb" * 4


def test_slow_models_stop_early() -> None:
    (latency,) = measure_latency({"slow": Sleep("slow", 0.001, []).eval()}, torch.zeros(1, 1), rounds=1000, seconds=0)
    assert latency.rounds == 11


def test_the_number_of_threads_is_put_back() -> None:
    before = torch.get_num_threads()
    (latency,) = measure_latency({"a": Sleep("a", 0, []).eval()}, torch.zeros(1, 1), threads=1)
    assert latency.threads == 1
    assert torch.get_num_threads() == before


def test_training_mode_is_refused() -> None:
    with pytest.raises(ValueError, match=r"training mode: \['b'\]"):
        measure_latency({"a": nn.Identity().eval(), "b": nn.Identity()}, torch.zeros(1, 1))
