"""What the tables of this package do not hold: anyone's own criterion, reward or resource, by dotted path or by name.

``criterion=my_package.my_criterion`` is imported. A package that is installed may offer things by name besides, by
entry points of the groups ``amc_search.<kind>``, for every kind of ``KINDS``:

    [project.entry-points."amc_search.criteria"]
    linf = "my_package:linf"

What is imported is code that the user named or installed; no file from outside can name any.

References:
    Python Packaging User Guide, "Entry points specification".
"""

import re
import sys
from collections.abc import Mapping
from difflib import get_close_matches
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any, TypeVar

KINDS = ("criteria", "rewards", "resources", "metrics", "granularities", "layer_kinds")
"""What can be one's own: the group of its entry points is ``amc_search.`` and this."""
PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")
Known = TypeVar("Known")


def is_own(kind: str, name: object) -> bool:
    """Tell whether a name is none of this package's: a dotted path, or what an installed package offers."""
    return isinstance(name, str) and (PATH.fullmatch(name) is not None or _offered(kind, name) is not None)


def find(kind: str, name: str, table: Mapping[str, Known]) -> Known:
    """Return what a name stands for: a row of the package's own table, or what it is imported from.

    Args:
        kind: one of ``KINDS``, also for messages.
        name: of a row, of an entry point, or a dotted path.
        table: the package's own.

    Raises:
        ValueError: there is no such thing, or it cannot be imported; one line says why.
    """
    if name in table:
        return table[name]
    offered = _offered(kind, name)
    if offered is None and PATH.fullmatch(name) is None:
        raise ValueError(f"{name!r} is not among the {kind}: {', '.join(table)}{nearest(name, table)}")
    try:
        found: Known = offered.load() if offered is not None else _imported(name)
    except Exception as error:  # importing runs the user's code
        raise ValueError(f"{name} {import_fault(name, error)}") from error
    return found


def import_fault(path: str, error: Exception) -> str:
    """Say why a dotted path names nothing: what its module has of a similar name, or what importing failed of."""
    module, _, attribute = path.rpartition(".")
    cause: BaseException = error
    while cause.__cause__ is not None:  # Hydra says much around it
        cause = cause.__cause__
    found = sys.modules.get(module)
    missing = isinstance(cause, AttributeError) or getattr(cause, "name", None) == path
    if found is not None and missing and not hasattr(found, attribute):
        return f"cannot be imported: {module} has no {attribute}{nearest(attribute, tuple(vars(found)))}"
    line = (str(cause).strip() or type(cause).__name__).splitlines()[0]
    return f"cannot be imported ({line}); is it on PYTHONPATH?"


def nearest(name: object, names: Mapping[str, Any] | tuple[str, ...]) -> str:
    """Return a question for the name that was meant, or nothing where none is near."""
    near = get_close_matches(str(name), list(names), n=3, cutoff=0.6)
    # Two letters in each other's place are the commonest mistake.
    same = [each for each in near if sorted(each) == sorted(str(name))]
    return f"; did you mean {[*same, *near][0]}?" if near else ""


def _offered(kind: str, name: str) -> EntryPoint | None:
    return next(iter(entry_points(group=f"amc_search.{kind}", name=name)), None)


def _imported(path: str) -> Any:  # noqa: ANN401  whatever it names
    module, _, attribute = path.rpartition(".")
    return getattr(import_module(module), attribute)
