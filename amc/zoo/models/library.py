"""Networks of other packages, which are imported when asked for: the extra ``zoo``."""

import importlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from typing import Any

from amc.errors import ConfigError, StorageError
from envs.engine.errors import first_line

INSTALL = "pip install 'amc-search[zoo]'"


def import_library(name: str) -> Any:  # noqa: ANN401  a module of a package that may not be there
    """Import a package of the extra.

    Raises:
        ConfigError: it is not installed, or not for the installed torch.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ConfigError(f"model={name} needs {error.name or name}: {INSTALL}") from error
    except RuntimeError as error:  # its operators were compiled for another torch
        raise ConfigError(f"model={name}: {name} does not fit the installed torch ({first_line(error)})") from error


def check_name(library: str, name: str, names: Collection[str]) -> None:
    """Check that a library has a network.

    Raises:
        ConfigError: it has none of this name.
    """
    if name not in names:
        near = get_close_matches(name, names, n=3)
        hint = f"; did you mean {', '.join(near)}?" if near else f", only {len(names)} others"
        raise ConfigError(f"model.name={name}: {library} has no such network for classifying images{hint}")


@contextmanager
def downloading(library: str, name: str) -> Iterator[None]:
    """Turn what goes wrong while published weights are fetched into one line.

    Raises:
        ConfigError: no weights are published.
        StorageError: they cannot be had.
    """
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"model.pretrained=true: cannot download the weights of {library}'s {name} ({first_line(error)}); "
            "model.checkpoint=FILE takes those that you have"
        ) from error
    except (RuntimeError, ValueError) as error:
        raise ConfigError(f"model.pretrained=true: {library}'s {name}: {first_line(error)}") from error
