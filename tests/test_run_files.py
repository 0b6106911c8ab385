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
ALLOWED |= {"amc/tracking/tensorboard_tracker.py", "amc/tracking/worker.py", "amc/cli/lasting_output.py"}
# They only read what the system says of memory and of the processor.
ALLOWED |= {"amc/measurement/memory.py", "amc/measurement/on_device.py"}
# It only looks at lock files and at what is mounted.
ALLOWED |= {"amc/store/lock.py"}
# Figures are drawn to memory.
ALLOWED |= {"amc/report/figure_style.py"}
# Exporters and runtimes take files: those are in temporary folders, and what is kept goes through ``durable_files``.
ALLOWED |= {f"amc/deploy/{name}.py" for name in ("exporting", "profiling")}
ALLOWED |= {f"amc/runtimes/{name}.py" for name in ("exports", "int8", "prepared")}
# They only read what was checked or ships with the package, or write what a benchmark makes: tables, landscapes.
ALLOWED |= {"amc/runtimes/profile.py", "envs/landscapes/files.py"}
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
