"""What the Python interface loads, in interpreters of their own."""

import subprocess
import sys
from pathlib import Path

import pytest

APPLICATION = {"hydra", "jinja2", "matplotlib", "wandb", "optuna", "sklearn"}
LOADED = "print(*{name.partition('.')[0] for name in sys.modules})"
SEARCH = """
import sys
import torch
from torch import nn
import amc

torch.set_num_threads(1)
batches = [(torch.randn(16, 1, 6, 6), torch.randint(2, (16,)))]
model = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(128, 2))
result = amc.prune(
    model, batches[0][0], calibration=batches, validation=batches, policy={policy!r}, episodes=2, progress=False
)
"""


def loaded(code: str) -> list[set[str]]:
    """Return the top-level names of all modules, a set for every time that ``code`` prints them."""
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return [set(line.split()) for line in process.stdout.splitlines()]


def test_importing_the_package_loads_nothing_big() -> None:
    (found,) = loaded(f"import sys, amc\n{LOADED}")
    assert "amc" in found
    assert not found & (APPLICATION | {"torch", "numpy", "gymnasium", "stable_baselines3"})


@pytest.mark.slow
def test_uniform_ratios_load_nothing_of_the_command_line_and_the_report() -> None:
    (found,) = loaded(SEARCH.format(policy="uniform") + LOADED)
    assert not found & (APPLICATION | {"stable_baselines3", "tensorboard"})


def test_a_search_loads_no_command_line_and_pictures_and_pages_what_they_are_made_with(tmp_path: Path) -> None:
    parts = [SEARCH.format(policy="random"), "result.plot()", f"result.report({str(tmp_path / 'report.html')!r})"]
    shown = "\n".join(f"{part}\n{LOADED}" for part in parts)
    searched, drawn, reported = loaded(shown)
    assert {"amc", "envs", "torch"} <= searched
    assert not searched & (APPLICATION | {"stable_baselines3", "tensorboard"})
    assert "matplotlib" in drawn - searched
    assert "jinja2" in reported - drawn
    assert not reported & {"hydra", "wandb"}


def test_loading_a_network_loads_nothing_of_the_command_line() -> None:
    (found,) = loaded(f"import sys, amc; amc.load\n{LOADED}")
    assert "torch" in found
    assert not found & (APPLICATION | {"gymnasium", "stable_baselines3"})
