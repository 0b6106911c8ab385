"""JSON read as typed records: what a file from outside holds is checked before it is used."""

from collections.abc import Hashable
from functools import cache
from typing import Annotated, Any, Generic, Literal, TypeVar, cast

from pydantic import BeforeValidator, ConfigDict, Field, RootModel, ValidationError

LARGEST = 1e300
SHOWN, REASON = 40, 80
Kind = TypeVar("Kind")


def _whole(value: object) -> object:
    return int(value) if isinstance(value, float) and value.is_integer() else value


Number = Annotated[float, Field(ge=-LARGEST, le=LARGEST)]
"""A number that sums of trials cannot make infinite."""
Integer = Annotated[int, Field(ge=-(1 << 63), lt=1 << 63)]
"""A whole number of 64 bits."""
Whole = Annotated[Integer, BeforeValidator(_whole)]
"""A whole number, which may stand as ``1.0``."""


class _Strict(RootModel[Kind], Generic[Kind]):
    """What is read, together with the rules that go for everything in it."""

    # Without strictness "1" and true are numbers.
    model_config = ConfigDict(strict=True, allow_inf_nan=False)


def parse(kind: type[Kind], text: str | bytes, *, extra: Literal["forbid", "ignore"] = "forbid") -> Kind:
    """Build a named tuple, a dataclass or a container of them from JSON, every value checked against its annotation.

    Args:
        kind: what to build.
        text: the JSON.
        extra: what to do with fields that a dataclass does not have.

    Raises:
        ValueError: it is no JSON, a field is missing or not of its type, or there is no such field; one line says
            which and why.
    """
    try:
        return cast(Kind, _strict(cast(Hashable, kind)).model_validate_json(text, extra=extra).root)
    except ValidationError as error:
        raise ValueError(_first_problem(error)) from error


@cache
def _strict(kind: Hashable) -> Any:  # noqa: ANN401  what mypy cannot say: _Strict of a kind known at run time
    return _Strict[kind]  # type: ignore[valid-type]


def _first_problem(error: ValidationError) -> str:
    problem = error.errors(include_url=False)[0]
    reason = problem["msg"][0].lower() + problem["msg"][1:]
    if problem["type"] == "json_invalid":
        return reason
    where = ".".join(map(str, problem["loc"])) or "it"
    if problem["type"] in ("missing", "missing_argument"):
        return f"{where} is missing"
    return f"{where} is {_cut(repr(problem['input']), SHOWN)}: {_cut(reason, REASON)}"


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[:longest]}…"
