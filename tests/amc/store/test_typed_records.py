import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest

from amc.store.typed_records import record


class Row(NamedTuple):
    name: str
    share: float
    whole: int
    flag: bool = False
    perhaps: float | None = None


@dataclass(frozen=True)
class Nested:
    rows: tuple[Row, ...]
    sizes: dict[str, int]


GOOD = {"name": "a", "share": 0.5, "whole": 3}


def test_a_record_holds_what_it_was_made_of() -> None:
    row = record(Row, GOOD | {"flag": True, "perhaps": 2})
    assert row == Row("a", 0.5, 3, True, 2)
    assert record(Nested, {"rows": (row,), "sizes": {"test": 3}}) == Nested((row,), {"test": 3})


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": 1},
        {"share": "0.5"},
        {"share": math.nan},
        {"share": math.inf},
        {"share": None},
        {"share": True},
        {"whole": [1]},
        {"whole": 10**400},
        {"flag": 1},
        {"perhaps": "x"},
        {"unknown": 1},
    ],
)
def test_a_wrong_value_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        record(Row, GOOD | wrong)


@pytest.mark.parametrize("wrong", [{"rows": ({},), "sizes": {}}, {"rows": (), "sizes": {"a": "b"}}, {"rows": 1}])
def test_what_stands_inside_is_checked_too(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="Nested"):
        record(Nested, wrong)


def test_a_missing_field_and_no_object_are_refused() -> None:
    with pytest.raises(TypeError, match="share"):
        record(Row, {"name": "a"})
    with pytest.raises(TypeError, match="list"):
        record(Row, [1])  # type: ignore[arg-type]
