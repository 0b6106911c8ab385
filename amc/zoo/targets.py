"""One's own network or data: a function named by ``_target_``, called with what it asks for.

The convention is Hydra's: a dotted path of something that can be imported and called. What is imported is the user's
own code, named on the user's own command line; no file from outside can name any.
"""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from hydra.utils import get_object

from amc.environment import public, unmarked
from amc.errors import ConfigError, UserError
from envs.engine.errors import first_line
from envs.engine.plugins import import_fault


def call_target(
    key: str,
    path: str,
    args: Any,  # noqa: ANN401  from YAML
    offered: Mapping[str, object],
    needed: Mapping[str, object] | None = None,
) -> object:
    """Call what ``path`` names, and return what it returns.

    Args:
        key: of the configuration group, ``model`` or ``data``, for messages.
        path: dotted path of a function or class.
        args: its keyword arguments by name, ``None`` for none.
        offered: further arguments, given where it has parameters of these names; ``args`` come first.
        needed: further arguments that were asked for, so that it has to have parameters of these names.

    Raises:
        ConfigError: it cannot be imported, does not take these arguments, or fails.
    """
    function = _locate(f"{key}._target_={path}", path)
    given = {} if args is None else args
    if not isinstance(given, Mapping) or not all(isinstance(name, str) for name in given):
        raise ConfigError(f"{key}.args={given}: must be names and values, such as '{key}.args={{depth: 5}}'")
    known = _parameters(function)
    for name, value in (needed or {}).items():
        if name not in known:
            raise ConfigError(f"{key}.{name}={value}: {key}._target_={path} has no parameter {name!r}")
    arguments = {name: value for name, value in {**offered, **(needed or {})}.items() if name in known} | dict(given)
    try:
        inspect.signature(function).bind(**arguments)
    except TypeError as error:
        raise ConfigError(
            f"{key}._target_={path} with {key}.args={public(dict(given))}: {first_line(error)}"
        ) from error
    except ValueError:  # what is written in C may tell nothing of its parameters
        pass
    try:
        return function(**unmarked(arguments))
    except UserError:
        raise
    except Exception as error:  # whatever the user's code raises
        raise ConfigError(f"{key}._target_={path} fails: {type(error).__name__}: {first_line(error)}") from error


def _parameters(function: Callable[..., object]) -> frozenset[str]:
    """Return the names of the parameters that a function can be given by keyword."""
    try:
        found = inspect.signature(function).parameters.values()
    except ValueError:
        return frozenset()
    by_name = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return frozenset(parameter.name for parameter in found if parameter.kind in by_name)


def _locate(setting: str, path: str) -> Callable[..., object]:
    try:
        found = get_object(path)
    except Exception as error:  # importing runs the user's code
        raise ConfigError(f"{setting} {import_fault(path, error)}") from error
    if not callable(found):
        raise ConfigError(f"{setting} is a {type(found).__name__}, not a function or class")
    return found
