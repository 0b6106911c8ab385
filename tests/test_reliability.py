"""A few trials of each protocol of ``benchmarks.reliability``, and that each fails on what is broken on purpose."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FEW = [
    *("--settings", "random", "--every", "31", "--kills", "2", "--levels", "2", "--damages", "6"),
    *("--hostile", "12", "--requests", "12", "--processes", "2", "--policies", "1"),
]
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs fork and /proc")


def played(tmp_path: Path, *arguments: str) -> dict[str, tuple[int, int]]:
    """Return for every protocol how many trials there were and how many failed."""
    process = subprocess.run(
        [sys.executable, "-m", "benchmarks.reliability", *arguments],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert process.returncode == 0, process.stdout + process.stderr
    assert process.stdout.startswith("| protocol"), process.stdout
    print(process.stdout)
    rows = [line.strip("| ").split(" | ") for line in process.stdout.splitlines() if line.startswith("| ")][1:]
    return {f"{name}, {of}": (int(tried), int(bad)) for name, of, tried, _, bad in rows}


def test_nothing_is_lost_wrong_or_executed(tmp_path: Path) -> None:
    rows = played(tmp_path, *FEW, "--protocols", "every-operation", "starved")
    assert {"kill, random", "power loss, random", "disk full behind so many bytes, random"} <= rows.keys()
    assert {name: row for name, row in rows.items() if row[1] or not row[0]} == {}


@pytest.mark.slow
def test_other_protocols_hold_too(tmp_path: Path) -> None:
    others = ["random-kills", "damage", "hostile", "requests", "together", "same-seed"]
    rows = played(tmp_path, *FEW, "--protocols", *others)
    assert {name: row for name, row in rows.items() if row[1] or not row[0]} == {}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("protocol", "more"),
    [
        ("every-operation", ["--every", "7"]),
        ("random-kills", ["--kills", "12"]),
        ("starved", []),
        ("damage", ["--damages", "12"]),
        ("hostile", []),
        ("requests", ["--requests", "60"]),
        ("together", []),
        ("same-seed", []),
    ],
)
def test_what_is_broken_on_purpose_fails(protocol: str, more: list[str], tmp_path: Path) -> None:
    rows = played(tmp_path, *FEW, *more, "--broken", "--protocols", protocol)
    failed = [bad for _, bad in rows.values()]
    assert all(failed) if protocol == "hostile" else sum(failed)
