import io
import logging
import re
import sys
from types import ModuleType, SimpleNamespace

import pytest
from rich.console import Console

from amc.progress import SearchProgress, TrainingProgress, make_display
from envs.engine.types import Cost
from envs.search import Trial

DENSE = Cost(flops=100e6, params=4e6)


def terminal(width: int = 100) -> Console:
    return Console(file=io.StringIO(), force_terminal=True, width=width)


def pipe() -> Console:
    return Console(file=io.StringIO(), force_terminal=False)


def shown(console: Console) -> str:
    """What was drawn, without colours and cursor movements."""
    assert isinstance(console.file, io.StringIO)
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", console.file.getvalue())


def test_a_terminal_shows_the_best_feasible_trial(sample_trials: list[Trial]) -> None:
    console = terminal()
    with SearchProgress(len(sample_trials), DENSE, "flops", console) as progress:
        for trial in sample_trials:
            progress(trial)
    last = shown(console).splitlines()[-1]
    assert "9/9" in last
    # The trial of reward -0.01 is over the target.
    assert "best reward -0.0400, metric 0.9600, flops 49.7%" in last


def test_ctrl_c_gives_the_cursor_back(sample_trials: list[Trial]) -> None:
    def interrupted(console: Console) -> None:
        with SearchProgress(9, DENSE, "flops", console) as progress:
            progress(sample_trials[0])
            raise KeyboardInterrupt

    console = terminal()
    with pytest.raises(KeyboardInterrupt):
        interrupted(console)
    assert isinstance(console.file, io.StringIO)
    drawn = console.file.getvalue()
    assert drawn.rindex("\x1b[?25h") > drawn.rindex("\x1b[?25l")


def test_without_a_terminal_there_are_a_few_log_lines(
    sample_trials: list[Trial], caplog: pytest.LogCaptureFixture
) -> None:
    console = pipe()
    with caplog.at_level(logging.INFO), SearchProgress(len(sample_trials), DENSE, "params", console) as progress:
        for trial in sample_trials:
            progress(trial)
    assert shown(console) == ""
    assert [record.getMessage() for record in caplog.records] == [
        "search 1/9: best reward -0.9000, metric 0.1000, params 50.0%",
        "search 9/9: best reward -0.0400, metric 0.9600, params 50.0%",
    ]


def test_nothing_feasible_is_said(sample_trials: list[Trial], caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO), SearchProgress(9, DENSE, "flops", pipe()) as progress:
        progress(sample_trials[-1])
    assert "nothing within the target yet" in caplog.text


@pytest.mark.parametrize("width", [40, 80])
def test_training_shows_its_steps_and_loss(width: int) -> None:
    console = terminal(width)
    with TrainingProgress("train [x]", console) as progress:
        for step in range(1, 4):
            progress(step, 3, 0.5)
    last = shown(console).splitlines()[-1]
    assert len(last) <= width
    assert "train [x]" in last
    assert "3/3" in last
    assert "loss 0.500" in last


def test_training_for_no_step_shows_nothing() -> None:
    console = terminal()
    with TrainingProgress("train", console):
        pass
    assert shown(console) == ""


def test_a_notebook_gets_one_output_that_changes_in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []

    class Handle:
        def update(self, content: dict[str, str], raw: bool) -> None:
            assert raw
            shown[-1] = content["text/plain"]

    def display(content: dict[str, str], raw: bool, display_id: bool) -> Handle:
        assert raw
        assert display_id
        shown.append(content["text/plain"])
        return Handle()

    monkeypatch.setitem(sys.modules, "IPython", ModuleType("IPython"))
    monkeypatch.setitem(sys.modules, "IPython.display", SimpleNamespace(display=display))
    with make_display("search", 4, Console(force_jupyter=True)) as bar:
        for number in range(1, 5):
            bar.update(number, f"metric {number}")
    assert shown == [f"search {'█' * 20} 4/4  metric 4"]
