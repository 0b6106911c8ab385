"""What a search holds, and what there is."""

from pathlib import Path

import pytest
from torch import nn

from amc.errors import ConfigError
from amc.measurement import memory
from amc.measurement.memory import Demand, available_memory, check_fits, gram_bytes

GIGABYTE = 1 << 30


def test_what_does_not_fit_is_refused_by_its_largest_key() -> None:
    demands = [Demand("data.search=9", 2 * GIGABYTE, "images"), Demand("policy.replay_size=7", 3 * GIGABYTE, "replay")]
    check_fits(demands, 5 * GIGABYTE)
    with pytest.raises(ConfigError, match=r"^policy\.replay_size=7: 5 GB .*3 GB of it for replay.* 4 GB are there"):
        check_fits(demands, 4 * GIGABYTE)


def test_gram_matrices_are_as_wide_as_what_a_window_holds() -> None:
    network = nn.Sequential(nn.Conv2d(3, 8, 5), nn.ReLU(), nn.Conv2d(8, 8, 3, groups=2), nn.Flatten(), nn.Linear(32, 2))
    assert gram_bytes(network) == 2 * 8 * (75**2 + 2 * 36**2 + 32**2)


@pytest.mark.parametrize(
    ("files", "left"),
    [
        ({"memory.max": "1000", "memory.current": "700", "memory.stat": "anon 600\ninactive_file 50\n"}, 350),
        ({"memory.limit_in_bytes": "900", "memory.usage_in_bytes": "950", "memory.stat": "total_inactive_file 80"}, 30),
        ({"memory.max": "400", "memory.current": "500", "memory.stat": ""}, 0),
    ],
)
def test_a_control_group_limits_what_there_is(
    files: dict[str, str], left: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    monkeypatch.setattr(memory, "GROUPS", tmp_path)
    assert available_memory() == left


def test_a_group_without_a_limit_leaves_the_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "GROUPS", tmp_path)
    machine = available_memory()
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("5\n")
    (tmp_path / "memory.limit_in_bytes").write_text(str((1 << 63) - 4096))
    (tmp_path / "memory.usage_in_bytes").write_text("5")
    there = available_memory()
    assert (machine is None) == (there is None)
    assert there is None or there > GIGABYTE // 16
