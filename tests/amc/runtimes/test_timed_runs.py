import time
from statistics import median

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from amc.errors import ConfigError
from amc.runtimes.runtime import chosen_runtime
from amc.runtimes.timed_runs import interval, is_steady, speedup, time_networks


class Work(nn.Module):
    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds

    def forward(self, images: Tensor) -> Tensor:
        end = time.process_time() + self.seconds
        while time.process_time() < end:
            pass
        return images


def test_networks_are_compared_with_the_first() -> None:
    networks = {"dense": Work(0.003).eval(), "found": Work(0.001).eval()}
    rows = time_networks("torch-eager", networks, torch.zeros(1, 1, 2, 2), batches=(1, 4), rounds=11)
    assert [(row.network, row.batch, row.runtime) for row in rows] == [
        (name, batch, "torch-eager") for batch in (1, 4) for name in networks
    ]
    assert all(row.median_ms >= 1000 * networks[row.network].seconds for row in rows)
    assert all(row.speedup_low <= row.speedup <= row.speedup_high for row in rows)
    assert rows[0].speedup == 1.0
    assert rows[2].images_per_second == pytest.approx(4000 / rows[2].median_ms)


def test_the_interval_holds_the_ratio_nineteen_times_in_twenty() -> None:
    generator = np.random.default_rng(0)
    held = 0
    for _ in range(400):
        moments = [generator.lognormal(0, 0.5) for _ in range(31)]
        dense = [moment * generator.lognormal(0, 0.1) for moment in moments]
        other = [moment * generator.lognormal(0, 0.1) / 2 for moment in moments]
        _, low, high = interval([a / b for a, b in zip(dense, other, strict=True)])
        held += low <= 2.0 <= high
    assert 0.92 < held / 400 < 0.995


def test_neighbours_change_no_ratio() -> None:
    generator = np.random.default_rng(0)

    def passes(seconds: float, busy: float) -> list[float]:
        """Most passes are disturbed, and those of the small network by more."""
        slower = generator.exponential(busy, 100) * (generator.random(100) < 0.8)
        return [seconds * (1 + each) for each in slower]

    loads = [(passes(2.0, 0.5), passes(1.0, 1.0)) for _ in range(9)]
    ratio, low, high = speedup(loads)
    assert ratio == pytest.approx(2.0, rel=0.02)
    assert low <= ratio <= high
    assert median(loads[0][0]) / median(loads[0][1]) < 1.8
    # A load that lies badly in memory does not move it, and is seen in the interval.
    lies = [
        (dense, [2 * each for each in other]) if number < 3 else (dense, other)
        for number, (dense, other) in enumerate(loads)
    ]
    assert speedup(lies)[0] == pytest.approx(2.0, rel=0.02)
    assert speedup(lies)[1] < 1.1
    assert speedup(loads[:1])[0] == pytest.approx(2.0, rel=0.1)


@pytest.mark.parametrize(
    ("times", "steady"),
    [([1.0, 1.01, 0.99] * 5, True), ([1.0, 2.0, 4.0] * 5, False), ([1.0] * 5 + [1.2] * 5 + [1.5] * 5, False)],
    ids=["quiet", "noisy", "throttling"],
)
def test_times_that_mean_nothing_are_known(times: list[float], steady: bool) -> None:
    assert is_steady([times, times]) == steady


def test_runtimes_that_are_not_there_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ConfigError, match="runtimes=torch-compile needs a C"):
        chosen_runtime("torch-compile", "runtimes")
    assert chosen_runtime("auto", device="cuda") == "torch-eager"


@pytest.mark.parametrize(("name", "lack"), [("cuda", "an NVIDIA GPU that torch"), ("tensorrt", "an NVIDIA GPU, and")])
def test_a_gpu_that_is_not_there_is_named(name: str, lack: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match=f"^device_profile={name} needs {lack}"):
        chosen_runtime(name)


def test_cuda_is_torch_where_the_networks_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert chosen_runtime("cuda", device="cuda") == "torch-eager"
    with pytest.raises(ConfigError, match="goes with device=cuda: the networks are on the cpu"):
        chosen_runtime("cuda", device="cpu")
