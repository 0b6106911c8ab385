import json

import pytest

from amc.store.kept_layers import LayerKept, StageKept, composed, positions
from amc.store.typed_records import parse

LEFT = (LayerKept("join", 0.5, 5, 10), LayerKept("join", 0.25, 1, 4), LayerKept("last", 0.75, 6, 8))
STAGE = StageKept(0.5, 100, 20, 80, 3, 1.5, 0.9, 0.95, LEFT)


def test_a_strategy_of_what_is_left_becomes_one_of_the_original() -> None:
    """Of the second layer of the same name nothing is left to choose, so that the next stage does not know it."""
    later = (LayerKept("join", 0.4, 2, 5), LayerKept("last", 0.5, 3, 6))
    expected = (LayerKept("join", 0.2, 2, 10), LayerKept("join", 0.25, 1, 4), LayerKept("last", 0.375, 3, 8))
    assert composed(LEFT, later) == expected
    assert composed(LEFT, ()) == LEFT


@pytest.mark.parametrize(
    ("layers", "found"),
    [
        ([("join", 5), ("join", 1), ("last", 6)], [0, 1, 2]),
        ([("join", 1), ("last", 6)], [1, 2]),
        ([("last", 6)], [2]),
        ([], []),
    ],
)
def test_layers_are_found_by_order_and_units(layers: list[tuple[str, int]], found: list[int]) -> None:
    assert positions(LEFT, layers) == found


@pytest.mark.parametrize("layers", [[("join", 2)], [("other", 5)], [("last", 6), ("join", 5)], [("join", 5)] * 2])
def test_other_layers_are_refused(layers: list[tuple[str, int]]) -> None:
    with pytest.raises(ValueError, match="is not what the stage before left"):
        positions(LEFT, layers)


def test_a_stage_comes_back_as_it_was() -> None:
    assert parse(StageKept, json.dumps(STAGE.as_dict())) == STAGE


@pytest.mark.parametrize(
    ("key", "value"), [("target", "half"), ("strategy", [{"layer": "a"}]), ("strategy", None), ("flops", None)]
)
def test_a_damaged_stage_is_refused(key: str, value: object) -> None:
    with pytest.raises(ValueError, match=rf"^{key}\b"):
        parse(StageKept, json.dumps(STAGE.as_dict() | {key: value}))
