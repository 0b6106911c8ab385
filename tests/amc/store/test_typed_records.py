import json
import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest

from amc.store.typed_records import Integer, Number, Whole, parse


class Row(NamedTuple):
    name: str
    share: Number
    whole: Whole
    flag: bool = False
    perhaps: Number | None = None


@dataclass(frozen=True)
class Nested:
    rows: tuple[Row, ...]
    sizes: dict[str, int]


Plain = str | Integer | float | bool | None
GOOD = {"name": "a", "share": 0.5, "whole": 3}


def test_a_record_holds_what_it_was_made_of() -> None:
    row = parse(Row, json.dumps(GOOD | {"flag": True, "perhaps": 2}))
    assert row == Row("a", 0.5, 3, True, 2)
    assert parse(Nested, json.dumps({"rows": [GOOD], "sizes": {"test": 3}})) == Nested((Row("a", 0.5, 3),), {"test": 3})


def test_a_whole_number_may_have_a_point_and_no_more() -> None:
    row = parse(Row, '{"name": "a", "share": 1, "whole": 3.0}')
    assert (type(row.share), type(row.whole)) == (float, int)
    with pytest.raises(ValueError, match=r"^whole is 3\.5: "):
        parse(Row, '{"name": "a", "share": 1, "whole": 3.5}')


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": 1},
        {"share": "0.5"},
        {"share": math.nan},
        {"share": math.inf},
        {"share": None},
        {"share": True},
        {"share": 1e301},
        {"share": 10**400},
        {"whole": [1]},
        {"whole": True},
        {"whole": "3"},
        {"whole": 10**400},
        {"whole": 1e301},
        {"whole": math.nan},
        {"flag": 1},
        {"perhaps": "x"},
        {"unknown": 1},
    ],
)
def test_a_wrong_value_is_refused_in_one_line_that_names_it(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"^{next(iter(wrong))} is ") as error:
        parse(Row, json.dumps(GOOD | wrong))
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 200


@pytest.mark.parametrize(
    ("wrong", "where"),
    [
        ({"rows": [{}], "sizes": {}}, "rows.0.name is missing"),
        ({"rows": [GOOD, GOOD | {"share": None}], "sizes": {}}, "rows.1.share is None"),
        ({"rows": [], "sizes": {"a": "b"}}, "sizes.a is 'b'"),
        ({"rows": 1, "sizes": {}}, "rows is 1"),
        ({"rows": []}, "sizes is missing"),
    ],
)
def test_what_stands_inside_is_checked_too(wrong: dict[str, Any], where: str) -> None:
    with pytest.raises(ValueError, match=where):
        parse(Nested, json.dumps(wrong))


def test_a_missing_field_and_no_object_are_refused() -> None:
    with pytest.raises(ValueError, match="share is missing"):
        parse(Row, '{"name": "a"}')
    with pytest.raises(ValueError, match=r"^it is \[1\]: input should be an object$"):
        parse(Nested, "[1]")


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, '{"name": ' + "1" * 5000 + "}", b"\xff"])
def test_what_is_no_json_is_refused(text: str | bytes) -> None:
    with pytest.raises(ValueError, match=r"^invalid JSON: [^\n]{1,100}$"):
        parse(Nested, text)


def test_a_value_of_several_types_keeps_its_own() -> None:
    values = {"a": 30.0, "b": 3, "c": True, "d": None, "e": "30"}
    read = parse(dict[str, Plain], json.dumps(values))
    assert {key: (type(value), value) for key, value in read.items()} == {k: (type(v), v) for k, v in values.items()}
    wrongs: list[object] = [[], {}, math.nan, 10**400]
    for wrong in wrongs:
        with pytest.raises(ValueError, match=r"^a\b"):
            parse(dict[str, Plain], json.dumps({"a": wrong}))
