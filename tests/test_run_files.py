"""Run files are opened by ``amc/store/results.py`` alone, through ``amc/store/durable_files.py``."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
OPENERS = {"open", "read_bytes", "read_text", "write_bytes", "write_text", "safe_open", "save_file", "savefig"}
# What opens other files: data, trained networks, weights from outside, and figures drawn to memory.
ALLOWED = {"amc/store/durable_files.py", "amc/store/results.py", "amc/weights/tensor_file.py"}
ALLOWED |= {"amc/report/plots.py"}
# It only reads a checkpoint, to know it by its content.
ALLOWED |= {"amc/config/checkpoint_paths.py"}
# They only read: a finished picture to show it elsewhere, and the null device.
ALLOWED |= {"amc/tracking/tensorboard_tracker.py", "amc/tracking/worker.py"}
# It only reads what the system says of memory.
ALLOWED |= {"amc/measurement/memory.py"}
SOURCES = sorted(
    str(path.relative_to(ROOT))
    for package in ("amc", "baselines", "envs")
    for path in (ROOT / package).rglob("*.py")
    if "zoo" not in path.parts
)


@pytest.mark.parametrize("source", [source for source in SOURCES if source not in ALLOWED])
def test_nothing_else_opens_files(source: str) -> None:
    called = [node.func for node in ast.walk(ast.parse((ROOT / source).read_text())) if isinstance(node, ast.Call)]
    names = {func.attr if isinstance(func, ast.Attribute) else getattr(func, "id", "") for func in called}
    assert not names & OPENERS
