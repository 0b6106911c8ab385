"""A sweep on a real SLURM of one node, started and stopped by the test."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from slurm_node import slurm_node

from benchmarks.faults.machine import TINY

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[1]
POLICIES = '''
import os, signal, time
from dataclasses import dataclass
from pathlib import Path
from baselines.random_search import RandomSearch

SECOND_TIME = Path(os.environ["SECOND_TIME"])

@dataclass(frozen=True)
class Disturbed(RandomSearch):
    """Comes to grief once, behind its third episode."""

    by: str = ""

    def search(self, env):
        rest = env._sinks
        def grief(trial):
            mark = SECOND_TIME / f"{self.by}{self.seed}"
            if trial.index == 2 and self.seed == 0 and not mark.exists():
                mark.touch()
                if self.by == "a kill":
                    os.kill(os.getpid(), signal.SIGKILL)
                time.sleep(3000)
        env._sinks = (*rest, grief)
        super().search(env)
'''
POLICY = "_target_: disturbed.Disturbed\nseed: ${{seed}}\nby: {by}\n"


@pytest.fixture
def slurm() -> Iterator[None]:
    with slurm_node():
        yield


def sweep(folder: Path, name: str, *launcher: str) -> subprocess.CompletedProcess[str]:
    keys = ["model=custom", "data=custom", *TINY, "policy=random,killed,late", "seed=0,1", f"name={name}", *launcher]
    environment = {"PYTHONPATH": f"{ROOT}{os.pathsep}{folder}", "MPLBACKEND": "agg", "COLUMNS": "200"}
    command = [sys.executable, "-W", "ignore", "-m", "amc.search", "--config-dir", str(folder / "conf"), "-m", *keys]
    environment["SECOND_TIME"] = str(folder / ("undisturbed" if name == "undisturbed" else "marks"))
    return subprocess.run(
        command, cwd=folder, env=os.environ | environment, capture_output=True, text=True, timeout=1500
    )


def trials(folder: Path, name: str) -> dict[str, bytes]:
    study = folder / "outputs" / name
    return {str(path.relative_to(study)): path.read_bytes() for path in study.rglob("trials.jsonl")}


@pytest.mark.usefixtures("slurm")
def test_jobs_that_are_killed_or_run_out_of_time_end_as_if_nothing_had_been(tmp_path: Path) -> None:
    (tmp_path / "disturbed.py").write_text(POLICIES)
    for name, by in (("killed", "a kill"), ("late", "time")):
        path = tmp_path / f"conf/policy/{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(POLICY.format(by=by))
    (tmp_path / "marks").mkdir()
    (tmp_path / "undisturbed").mkdir()
    for by in ("a kill", "time"):
        (tmp_path / f"undisturbed/{by}0").touch()
    alone = sweep(tmp_path, "undisturbed")
    assert alone.returncode == 0, alone.stderr
    on_slurm = ["hydra/launcher=slurm", "hydra.launcher.timeout_min=3", "hydra.launcher.signal_delay_s=60"]
    on_slurm += ["hydra.launcher.mem_gb=1", "hydra.launcher.array_parallelism=3"]
    first = sweep(tmp_path, "disturbed", *on_slurm)
    assert first.returncode != 0
    assert "1 of 6 jobs failed" in first.stderr
    assert "was ended by SIGKILL" in first.stderr
    assert "_log.err" in first.stderr
    second = sweep(tmp_path, "disturbed", *on_slurm)
    assert second.returncode == 0, second.stderr
    assert sorted(path.name for path in (tmp_path / "marks").iterdir()) == ["a kill0", "time0"]
    assert trials(tmp_path, "disturbed") == trials(tmp_path, "undisturbed")
    assert len(trials(tmp_path, "disturbed")) == 6
    assert len(list((tmp_path / "outputs/disturbed").rglob("result.json"))) == 6
    assert not list(tmp_path.glob(".amc-sweep-*"))
