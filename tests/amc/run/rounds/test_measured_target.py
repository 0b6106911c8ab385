"""What was measured for a run decides once: a run that goes on comes to the same networks, whatever the clock says."""

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from timed_engine import TimedEngine, clock_of

from amc.run.rounds.measured_target import MeasuredTarget
from amc.store.results import RunFolder
from amc.store.run_folders import TIME_CHECKS
from baselines.uniform import uniform_trial
from envs.pruning_env import PruningEnv

ENGINE = TimedEngine(round_to=4)
PROBLEM = PruningEnv(ENGINE, resource="latency", target=0.5)
STAGE: Any = SimpleNamespace(engine=ENGINE, problem=PROBLEM)
RATIOS = uniform_trial(PROBLEM).strategy


class Shares:
    """A clock by which everything takes some factor longer than the table says; it stops after some windows."""

    def __init__(self, factor: float, windows: int = 9) -> None:
        self.factor, self.windows = factor, windows

    def of(self, engine: TimedEngine, counts: Sequence[Sequence[int]]) -> list[float]:
        if not self.windows:
            raise KeyboardInterrupt
        self.windows -= 1
        ratios = [tuple(k / layer.units for k, layer in zip(kept, engine.layers, strict=True)) for kept in counts]
        return clock_of(engine, self.factor)(ratios)


def target_of(folder: Path, shares: Shares) -> MeasuredTarget:
    return MeasuredTarget(RunFolder(folder, keep=True), cast(Any, shares), wanted=0.5)


def test_a_run_that_was_cut_short_comes_to_the_same_networks(tmp_path: Path) -> None:
    whole = target_of(tmp_path / "whole", Shares(1.1))
    expected = [whole.uniform(STAGE), whole.found(STAGE, RATIOS)]
    assert all(0.475 <= 1.1 * (ENGINE.cost(each).latency or 0.0) <= 0.51 for each in expected)

    cut = target_of(tmp_path / "cut", Shares(1.1, windows=1))
    assert cut.uniform(STAGE) == expected[0]
    with pytest.raises(KeyboardInterrupt):
        cut.found(STAGE, RATIOS)
    # The machine is another one now, or busy; what was measured stays.
    again = target_of(tmp_path / "cut", Shares(1.1, windows=1))
    assert [again.uniform(STAGE), again.found(STAGE, RATIOS)] == expected
    finished = target_of(tmp_path / "cut", Shares(2.0, windows=0))
    assert [finished.uniform(STAGE), finished.found(STAGE, RATIOS)] == expected
    assert finished.checks == whole.checks
    chosen = [check for check in whole.checks if check.chosen]
    assert [check.network for check in chosen] == ["uniform", "found"]
    assert [check.kept for check in chosen] == [ENGINE.kept(each) for each in expected]


def test_what_is_damaged_is_measured_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    before = target_of(tmp_path, Shares(1.1)).uniform(STAGE)
    path = tmp_path / TIME_CHECKS
    path.write_text(path.read_text().replace("0.5", "0.4", 1))
    again = target_of(tmp_path, Shares(1.1))
    assert "measured again" in caplog.text
    assert again.uniform(STAGE) == before
