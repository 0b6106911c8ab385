"""Runs whose strategies are evaluated by workers: the same files, also where the search was killed in between."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.faults.machine import TINY

ROOT = Path(__file__).parents[3]
pytestmark = pytest.mark.slow
EPISODES = 14
KILLS = 5
SLOW = """
import time

def accuracy(scores, labels):
    time.sleep(0.5)
    return (scores.argmax(1) == labels).float().mean()
"""


def start(folder: Path, *asked: str) -> subprocess.Popen[bytes]:
    keys = [*TINY, "model=custom", "data=custom", f"episodes={EPISODES}", "threads=1", f"cache_dir={folder / 'cache'}"]
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", "amc.search", *keys, *asked],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{folder}", "MPLBACKEND": "agg"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def finish(process: subprocess.Popen[bytes]) -> None:
    _, err = process.communicate(timeout=900)
    assert process.returncode == 0, err.decode()


def trials(folder: Path, name: str) -> list[bytes]:
    (path,) = (folder / "outputs" / name).rglob("trials.jsonl")
    return path.read_bytes().splitlines()


@pytest.mark.parametrize("policy", ["optuna", "amc"])
def test_kills_of_the_search_leave_the_record_of_one_process_that_asks_as_far_ahead(
    policy: str, tmp_path: Path
) -> None:
    (tmp_path / "slow.py").write_text(SLOW)
    asked = [f"policy={policy}", "metric=slow.accuracy"]
    finish(start(tmp_path, *asked, "policy.at_once=4", "name=alone"))
    for kill in range(KILLS):
        search = start(tmp_path, *asked, "workers=local", "workers.n=2", "name=killed")
        enough = (kill + 1) * EPISODES // (KILLS + 2)
        while search.poll() is None and len(recorded(tmp_path)) < enough:
            time.sleep(0.02)
        search.kill()
        _, err = search.communicate()
        assert search.returncode == -signal.SIGKILL, err.decode()
    finish(start(tmp_path, *asked, "workers=local", "workers.n=2", "name=killed"))
    alone = trials(tmp_path, "alone")
    assert trials(tmp_path, "killed") == alone
    assert [json.loads(line)["index"] for line in alone] == list(range(EPISODES))


def recorded(folder: Path) -> list[bytes]:
    paths = list((folder / "outputs/killed").rglob("trials.jsonl"))
    return paths[0].read_bytes().splitlines() if paths else []
