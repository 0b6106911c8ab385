import json
from typing import Any

import pytest

from amc.weights.metadata import KEY, Header, ModelSpec
from envs.engine.surgery.passing_on import Passed

HEADER = Header((1, 3, 32, 32), ModelSpec("resnet20", 10, 3, 0.5), mean=(125.3, 122.9, 113.8), std=(63.0, 62.1, 66.7))


@pytest.mark.parametrize(
    "header",
    [
        HEADER,
        Header((1, 4)),
        Header((1, 4), counts={"blocks.0.num_heads": 2}),
        Header((1, 4), passed={"blocks.1": Passed(1.25, 2)}),
    ],
)
def test_a_header_survives_the_file(header: Header) -> None:
    metadata = header.to_metadata()
    assert all(isinstance(value, str) for value in metadata.values())
    assert Header.from_metadata(metadata) == header


def test_without_mean_there_is_no_normalisation() -> None:
    with pytest.raises(ValueError, match="no normalisation"):
        _ = Header((1, 4)).normalization


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"format": "1"}, "format is '1'"),
        ({"counts": [2]}, r"counts is \[2\]"),
        ({"counts": {"heads": 0}}, "counts.heads is 0"),
        ({"counts": {"heads": True}}, "counts.heads is True"),
        ({"passed": {"blocks.1": {"scale": float("inf")}}}, "passed.blocks.1.scale is inf|out of range"),
        ({"passed": {"blocks.1": {"values": 1000}}}, "out of range"),
        ({"input_shape": None}, "input_shape is None"),
        ({"input_shape": [1, 0]}, "input_shape.1 is 0"),
        ({"input_shape": [1, 3.0]}, "input_shape.1 is 3.0"),
        ({"input_shape": [True]}, "input_shape.0 is True"),
        ({"input_shape": [1, 3, 100_000, 100_000]}, "out of range"),
        ({"input_shape": [1] * 7}, "out of range"),
        ({"model": "resnet20"}, "model is 'resnet20'"),
        ({"model": {"factory": 3}}, "factory is 3"),
        ({"model": {"factory": "x", "num_classes": -1}}, "num_classes is -1"),
        ({"model": {"factory": "x", "num_classes": 1, "in_channels": 1, "width": 1e9}}, "width is 1000000000.0"),
        ({"model": {"factory": "x", "num_classes": 1, "in_channels": 1, "width": float("nan")}}, "width is nan"),
        ({"mean": [float("nan")], "std": [1.0]}, "mean.0 is nan"),
        ({"mean": [0.0], "std": [0.0]}, "std.0 is 0.0"),
        ({"mean": [0.0]}, "mean has 1 channels, its std 3"),
    ],
)
def test_fields_out_of_range_are_refused(changes: dict[str, Any], reason: str) -> None:
    fields = json.loads(HEADER.to_metadata()[KEY]) | changes
    with pytest.raises(ValueError, match=reason):
        Header.from_metadata({KEY: json.dumps(fields)})


@pytest.mark.parametrize("text", ["", "[]", "{", "null", "[" * 100_000])
def test_what_is_not_a_json_object_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="its header is refused: "):
        Header.from_metadata({KEY: text})
