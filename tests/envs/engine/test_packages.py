"""What ``envs.engine`` and its sub-packages offer."""

import subprocess
import sys
from importlib import import_module

import pytest

import envs.engine

ROOMS = ("criteria", "network", "pruners", "repair", "scoring", "surgery", "tracing")


@pytest.mark.parametrize("package", ["envs.engine", *(f"envs.engine.{room}" for room in ROOMS)])
def test_a_package_lists_what_it_offers(package: str) -> None:
    module = import_module(package)
    assert module.__doc__
    assert all(getattr(module, name) is not None for name in module.__all__)
    assert set(module.__all__) <= set(dir(module))


def test_what_is_not_offered_is_an_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'TorchEnginee'"):
        _ = envs.engine.TorchEnginee


def test_a_package_is_imported_on_its_own() -> None:
    """Each in a process that has torch and nothing of ``envs``, where a circle of imports would show."""
    code = """
import importlib, os, sys
import torch, torch_pruning
for room in sys.argv[1:]:
    if (child := os.fork()) == 0:
        assert "envs" not in sys.modules
        importlib.import_module(f"envs.engine.{room}")
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0, room
"""
    subprocess.run([sys.executable, "-c", code, *ROOMS], check=True)


def test_types_settings_and_the_analytic_engine_need_no_torch() -> None:
    code = (
        "import sys; from envs.engine import AnalyticEngine, EngineSettings, GraphError, PruningEngine; "
        "import envs.engine.choices; sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
