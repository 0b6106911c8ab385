"""Values read from JSON as typed records: what a file from outside holds is checked before it is used."""

from collections.abc import Hashable, Mapping
from functools import cache
from types import UnionType
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

LARGEST = 1e300
Record = TypeVar("Record")


def record(kind: type[Record], values: Mapping[str, Any]) -> Record:
    """Build a named tuple or a dataclass, every value checked against its annotation.

    Numbers have to be finite and below 1e300. A whole number may stand as ``1.0``: ``int`` takes what ``float`` takes.

    Raises:
        ValueError: a value is not of its type, or no field has its name.
        TypeError: a field is missing, or ``values`` is no mapping.
    """
    if not isinstance(values, Mapping):
        raise TypeError(f"{kind.__name__} is made of an object, not of {type(values).__name__}")
    hints = _annotations(cast(Hashable, kind))
    for name, value in values.items():
        if name not in hints:
            raise ValueError(f"{kind.__name__} has no {str(name)[:40]!r}")
        if not _is(value, hints[name]):
            raise ValueError(f"{kind.__name__}.{name} is {str(value)[:40]!r}")
    return kind(**values)


@cache
def _annotations(kind: Hashable) -> dict[str, Any]:
    return get_type_hints(kind)


def _is(value: object, hint: Any) -> bool:  # noqa: ANN401
    """Whether ``value`` is what the annotation ``hint`` says."""
    if hint in (int, float):
        # Whole numbers can be too large for a float; nan fails every comparison.
        return isinstance(value, (int, float)) and not isinstance(value, bool) and -LARGEST <= value <= LARGEST
    inner = get_args(hint)
    origin = get_origin(hint)
    if origin in (Union, UnionType):
        return any(_is(value, one) for one in inner)
    if origin is tuple:
        return isinstance(value, tuple) and all(_is(item, inner[0]) for item in value)
    if origin is dict:
        return isinstance(value, dict) and all(
            _is(key, inner[0]) and _is(item, inner[1]) for key, item in value.items()
        )
    return isinstance(value, hint)
