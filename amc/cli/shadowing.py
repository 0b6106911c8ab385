"""Other packages of the same name: ``envs`` and ``baselines`` are common names, and Python takes the first it finds."""

from importlib.util import find_spec
from pathlib import Path

SITE = Path(__file__).parents[2]
PACKAGES = ("envs", "baselines")


def describe_shadowing() -> str | None:
    """Return, in one line, which file hides a package of this distribution and what to do; ``None`` where none does.

    Nothing is imported.
    """
    for name in PACKAGES:
        found = _find(name)
        if found is not None and found.resolve() != (SITE / name).resolve():
            return f"{found} hides the package {name!r} of amc-search, which is in {SITE}: {_advice(found.parent)}"
    return None


def check_shadowing() -> None:
    """Refuse to work with a package of the same name.

    Raises:
        ImportError: another package hides one of this distribution.
    """
    if shadowing := describe_shadowing():
        raise ImportError(shadowing)


def _find(name: str) -> Path | None:
    """Return the folder of a package, or the file of a module, as an import would find it."""
    spec = find_spec(name)
    if spec is None:
        return None
    if spec.origin is None:  # a folder without __init__.py, which is taken only where there is no package
        return Path(next(iter(spec.submodule_search_locations or ()), name))
    origin = Path(spec.origin)
    return origin.parent if origin.name == "__init__.py" else origin


def _advice(folder: Path) -> str:
    if folder.resolve() == Path.cwd().resolve():
        return "rename it or work in another folder; the commands amc-search, amc-train, amc-compare do not mind it"
    return f"take {folder} off Python's path (PYTHONPATH), or rename it there"
