"""The protocols of ``benchmarks/reliability.py`` on a few operations, and that they fail where they must."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def failed(tmp_path: Path, *arguments: str) -> dict[str, tuple[int, int]]:
    """Return for every protocol how many trials there were and how many failed."""
    process = subprocess.run(
        [sys.executable, "-m", "benchmarks.reliability", "--settings", "random", *arguments],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert process.returncode == 0, process.stdout + process.stderr
    rows = [line.strip("| ").split(" | ") for line in process.stdout.splitlines() if line.startswith("| ")][1:]
    return {name: (int(tried), int(bad)) for name, tried, bad in rows}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_nothing_is_lost_at_a_few_operations(tmp_path: Path) -> None:
    rows = failed(tmp_path, "--every", "40", "--faults", "torn write", "disk full", "--damages", "2")
    assert len(rows) == 3
    assert all(tried >= 2 and bad == 0 for tried, bad in rows.values()), rows


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_what_is_broken_on_purpose_fails(tmp_path: Path) -> None:
    rows = failed(tmp_path, "--broken", "--every", "5", "--faults", "torn write", "--damages", "9")
    assert all(bad > 0 for _, bad in rows.values()), rows
