"""Imports in interpreters of their own: what is loaded is a matter of the whole process."""

import subprocess
import sys

import pytest


def run(code: str) -> str:
    process = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr
    return process.stdout


@pytest.mark.parametrize(
    "imports",
    [
        "import envs, gymnasium",
        "import gymnasium, envs; gymnasium.register_envs(envs)",
        "import gymnasium; gymnasium.make('envs:amc/Pruning-v0')",
        "import importlib.util, envs.engine; importlib.util.find_spec('gymnasium.envs.registration'); import gymnasium",
    ],
)
def test_gymnasium_makes_the_environment_whatever_is_imported_first(imports: str) -> None:
    made = run(f"{imports}\nprint(type(gymnasium.make('amc/Pruning-v0').unwrapped).__name__)")
    assert made.split() == ["PruningEnv"]


def test_the_environment_is_registered_once() -> None:
    count = "sum(key == 'amc/Pruning-v0' for key in gymnasium.registry)"
    assert run(f"import sys, envs, gymnasium; print({count}, any('envs' in str(f) for f in sys.meta_path))") == (
        "1 False\n"
    )
