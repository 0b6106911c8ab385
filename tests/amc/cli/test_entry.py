"""The command lines before they begin to work, as processes."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import amc
from amc.cli.entry import enter

ROOT = Path(__file__).parents[3]
# Runs a command as ``python -m`` does, and tells whether torch was loaded by then.
RUN = """
import runpy, sys
module, *sys.argv[1:] = sys.argv[1:]
try:
    runpy.run_module(module, run_name="__main__", alter_sys=True)
except SystemExit as error:
    print(error.code, "torch" in sys.modules)
"""


def run(*command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "200"}
    return subprocess.run([sys.executable, *command], cwd=folder, env=environment, capture_output=True, text=True)


@pytest.mark.parametrize("module", ["amc", "amc.search", "amc.train", "amc.compare", "amc.verify"])
def test_the_version_is_that_of_this_distribution(module: str, tmp_path: Path) -> None:
    process = run("-m", module, "--version", folder=tmp_path)
    assert (process.returncode, process.stdout) == (0, f"amc-search {amc.__version__}\n")


def test_the_package_lists_its_commands(tmp_path: Path) -> None:
    process = run("-m", "amc", folder=tmp_path)
    assert process.returncode == 0
    commands = [line.split()[:4] for line in process.stdout.splitlines() if line.startswith("python")]
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    names = [script.removeprefix("amc-") for script in scripts]
    assert sorted(commands) == [["python", "-m", f"amc.{name}", "or"] for name in sorted(names)]
    assert all(f" amc-{name} " in process.stdout for name in names)


def test_the_package_is_no_command(tmp_path: Path) -> None:
    process = run("-m", "amc", "search", folder=tmp_path)
    assert process.returncode == 2
    (line,) = process.stderr.splitlines()
    assert "python -m amc.search" in line


@pytest.mark.parametrize("command", ["search", "train"])
def test_help_is_about_the_command(command: str, tmp_path: Path) -> None:
    process = run("-m", f"amc.{command}", "--help", folder=tmp_path)
    assert process.returncode == 0, process.stderr
    assert process.stdout.startswith(f"amc-{command} (python -m amc.{command})\n")
    assert "model=              custom, mobilenet" in process.stdout
    assert "powered by Hydra" not in process.stdout


@pytest.mark.parametrize(
    ("module", "argument", "exit_code"),
    [
        ("amc.search", "episode=3", 2),
        ("amc.search", "model=mobilnet", 2),
        ("amc.search", "criterion=l7", 2),
        ("amc.search", "target=0", 2),
        ("amc.search", "tracker=wandbb", 2),
        ("amc.train", "epochs=3", 2),
        ("amc.compare", "--colour", 2),
        ("amc.compare", "nowhere", 2),
        ("amc.search", "--version", 0),
    ],
)
def test_a_typo_is_answered_before_torch_is_loaded(module: str, argument: str, exit_code: int, tmp_path: Path) -> None:
    process = run("-c", RUN, module, argument, folder=tmp_path)
    assert process.stdout.split()[-2:] == [str(exit_code), "False"], process.stderr


def test_a_signal_while_packages_are_imported_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    def imports() -> None:
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as ended:
        enter("search", imports)
    assert ended.value.code == 130
    assert capsys.readouterr().err == "amc.search: interrupted\n"
