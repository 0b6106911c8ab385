"""The engine is used alone: importing it, in an interpreter of its own, brings nothing of the upper floors along."""

import subprocess
import sys

import pytest

HEAVY = {
    *("gymnasium", "stable_baselines3", "optuna", "hydra", "omegaconf"),
    *("matplotlib", "jinja2", "rich", "wandb", "tensorboard"),
}


def loaded(module: str) -> set[str]:
    """Return the top-level names of all that an import of ``module`` loads."""
    code = f"import sys, {module}\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(process.stdout.split())


@pytest.mark.parametrize("module", ["envs.engine", "envs.engine.types", "envs.engine.analytic"])
def test_what_needs_no_network_loads_no_torch(module: str) -> None:
    found = loaded(module)
    assert "envs" in found
    assert not found & (HEAVY | {"torch", "amc", "baselines"})


def test_the_engine_for_networks_loads_torch_and_nothing_of_the_search() -> None:
    found = loaded("envs.engine.torch_engine")
    assert {"torch", "torch_pruning"} <= found
    assert not found & (HEAVY | {"amc", "baselines"})
