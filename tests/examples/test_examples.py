"""The examples, with a few steps and episodes."""

import re
import runpy
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.py"))


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 4


@pytest.mark.slow
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_prints_what_it_found_on_test(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(path))["main"](steps=2, episodes=2)
    printed = capsys.readouterr().out
    assert re.search(r"on test: 0\.\d{3} dense", printed)
    assert re.search(r"0\.\d{3} at \d\d% of the FLOPs", printed)
