"""Every room of ``amc`` says what it is for and what it offers."""

import pkgutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

import amc

ROOT = Path(amc.__file__).parent
ROOMS = sorted(".".join(("amc", *path.parent.relative_to(ROOT).parts)) for path in ROOT.rglob("__init__.pyi"))
MODULES_AT_MOST, LINES_AT_MOST = 12, 250
SOURCES = sorted(
    path for folder in (ROOT, ROOT.parent / "envs", ROOT.parent / "baselines") for path in folder.rglob("*.py")
)


def test_there_are_rooms() -> None:
    assert {"amc.api", "amc.config", "amc.run", "amc.store", "amc.zoo.models"} <= set(ROOMS)


@pytest.mark.parametrize("name", ROOMS)
def test_what_a_room_offers_is_there(name: str) -> None:
    room = import_module(name)
    assert room.__doc__
    assert room.__all__
    inside = {module.name for module in pkgutil.iter_modules(room.__path__)}
    for offered in room.__all__:
        # A module of the same name would take its place as soon as it is imported.
        assert offered not in inside
        assert not isinstance(getattr(room, offered), ModuleType)


def test_opening_a_room_loads_nothing() -> None:
    heavy = ("torch", "hydra", "pydantic", "gymnasium", "matplotlib")
    code = f"import sys, {', '.join(ROOMS)}; print([name for name in {heavy} if name in sys.modules])"
    said = subprocess.run([sys.executable, "-c", code], cwd=ROOT.parent, check=True, capture_output=True, text=True)
    assert said.stdout.strip() == "[]"


@pytest.mark.parametrize("folder", sorted({path.parent for path in SOURCES}), ids=lambda path: path.name)
def test_no_room_is_crowded(folder: Path) -> None:
    assert len([path for path in folder.glob("*.py") if path.name != "__init__.py"]) <= MODULES_AT_MOST


def test_no_module_is_long() -> None:
    long = {str(path): count for path in SOURCES if (count := len(path.read_text().splitlines())) > LINES_AT_MOST}
    assert not long
