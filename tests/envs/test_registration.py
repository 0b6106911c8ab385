"""Imports in interpreters of their own: what is loaded is a matter of the whole process."""

import subprocess
import sys
from pathlib import Path

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


def test_networks_by_name_are_known_to_the_package_above() -> None:
    code = """
import envs, gymnasium
try:
    gymnasium.make("amc/Pruning-v0", model="resnet20")
except ValueError as error:
    print(error)
"""
    assert "import amc before" in run(code)


def test_gymnasium_makes_the_problem_of_a_run_by_name(tmp_path: Path) -> None:
    code = f"""
import amc, gymnasium, sys
assert "gymnasium" in sys.modules and "torch" not in sys.modules
small = ["train.epochs=0", "cache_dir={tmp_path}", "model.width=0.25", "data.calibration=50", "data.search=50"]
env = gymnasium.make("amc/Pruning-v0", model="resnet20", data="digits", target=0.3, render_mode="ansi", overrides=small)
observation, _ = env.reset(seed=0)
terminated = False
while not terminated:
    observation, reward, terminated, _, info = env.step([0.5])
dense = env.unwrapped.budget.dense
print(info["feasible"], 0.25 * dense < info["cost"].flops <= 0.3 * dense, env.render().count(" of "))
"""
    assert run(code).split() == ["True", "True", "12"]
