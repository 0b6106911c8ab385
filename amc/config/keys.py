"""What the fields of a dataclass mean, from its docstring: the rows of the configuration's reference.

A key without a meaning ends the build, so that the reference is never thinner than the configuration.
"""

import inspect
import re
from collections.abc import Iterator
from dataclasses import MISSING as NOT_SET
from dataclasses import Field, dataclass, fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from envs.engine.fields import NOT_GIVEN, OneOf

ATTRIBUTE = re.compile(r"    (?P<name>\w+): (?P<meaning>.*)")
"""How a line of the section begins that says what a field means."""
SET_BY_CHOICE = "set by the choice"
WORDS = {str: "text", int: "whole number", float: "number", bool: "`true` or `false`", Any: ""}
"""Types as a reader of the command line knows them."""


class UndocumentedKey(Exception):
    """A key has no line in its dataclass's ``Attributes`` section."""


@dataclass(frozen=True)
class Key:
    """A key of the configuration.

    Attributes:
        name: as on the command line, ``finetune.epochs``.
        meaning: Markdown, from the docstring.
        values: its type and range, or what it can be, in Markdown.
        default: in Markdown.
    """

    name: str
    meaning: str
    values: str
    default: str


def meanings(owner: type) -> dict[str, str]:
    """Return what the ``Attributes`` sections of a class and of its bases say, by the field's name."""
    found: dict[str, str] = {}
    for base in reversed(owner.__mro__):
        text = inspect.cleandoc(vars(base).get("__doc__") or "")
        _, _, section = text.partition("\nAttributes:\n")
        name = ""
        for line in section.splitlines():
            if line and not line.startswith(" "):
                break
            start = ATTRIBUTE.match(line)
            if start is not None:
                name = start["name"]
                found[name] = start["meaning"]
            elif line.strip() and name:
                found[name] += f" {line.strip()}"
    return {name: " ".join(meaning.split()) for name, meaning in found.items()}


def keys_of(owner: type, prefix: str = "", leave_out: frozenset[str] = frozenset()) -> Iterator[Key]:
    """Yield the keys that a dataclass makes, those of nested dataclasses left to whoever asks for them.

    Args:
        owner: the dataclass.
        prefix: in front of every name, such as ``finetune.``.
        leave_out: fields that are no keys.

    Raises:
        UndocumentedKey: a field has no meaning.
    """
    said, hints = meanings(owner), get_type_hints(owner)
    for field in fields(owner):
        if field.name in leave_out or is_dataclass(hints[field.name]):
            continue
        if not said.get(field.name):
            raise UndocumentedKey(
                f"{prefix}{field.name} has no meaning: give {field.name} a line under Attributes in the docstring "
                f"of {owner.__module__}.{owner.__qualname__}"
            )
        values = values_of(hints[field.name], field.metadata.get("allowed"))
        yield Key(f"{prefix}{field.name}", said[field.name], values, default_of(field))


def nested(owner: type) -> dict[str, type]:
    """Return the dataclasses among the fields of a dataclass, by name: the groups of its keys."""
    hints = get_type_hints(owner)
    return {field.name: hints[field.name] for field in fields(owner) if is_dataclass(hints[field.name])}


def values_of(hint: Any, allowed: object = None) -> str:  # noqa: ANN401  any annotation
    """Return what a field takes as a reader of the command line knows it: its choices, or its type and range."""
    if isinstance(allowed, OneOf):
        return ", ".join(f"`{name}`" for name in allowed.names)
    return _type(hint) if allowed is None else f"{_type(hint)}; {allowed}"


def _type(hint: Any) -> str:  # noqa: ANN401
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return " or ".join("`null`" if one is NoneType else _type(one) for one in inner)
    if origin in (list, tuple):
        return f"list of {_type(inner[0])}"
    if origin is dict:
        return f"{_type(inner[1])} by name"
    return WORDS.get(origin or hint, f"`{getattr(hint, '__name__', hint)}`")


def default_of(field: "Field[Any]") -> str:
    """Return a field's default as it would stand on the command line."""
    if field.default_factory is not NOT_SET:
        return shown(field.default_factory())
    return SET_BY_CHOICE if field.default is NOT_SET or field.default == NOT_GIVEN else shown(field.default)


def shown(value: object) -> str:
    """Return a value as Markdown, written as on the command line."""
    if value is None or isinstance(value, bool):
        return f"`{'null' if value is None else str(value).lower()}`"
    if isinstance(value, tuple):
        value = list(value)
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"
