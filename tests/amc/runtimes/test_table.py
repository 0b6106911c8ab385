import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from amc.errors import RefusedInput
from amc.measurement.on_device import TABLE, digest
from amc.runtimes.fitting import fit
from amc.runtimes.request import as_dict, layers_of
from amc.runtimes.table import block_of, check_covers, parse_table, read_table
from envs.engine.latency import LayerShape, TimedLayer

CONV = LayerShape("conv", (3, 3), (1, 1), (1, 1), (1, 1), (8, 8))
DEPTHWISE = CONV._replace(kind="depthwise")
LINEAR = LayerShape("linear")
WHOLE = (TimedLayer(CONV, 16, 64), TimedLayer(DEPTHWISE, 64, 64), TimedLayer(LINEAR, 64, 10))
BLOCK = 16
OVERHEAD = 0.02


def seconds_of(shape: LayerShape, inputs: int, outputs: int) -> float:
    """A machine that computes outputs in blocks of 16, and three times as slowly where depthwise layers are odd."""
    blocks = -(-outputs // BLOCK)
    if shape.kind == "depthwise":
        return 0.01 * blocks * (3 if outputs % 4 else 1)
    return 0.004 + 0.001 * (-(-inputs // 8) if inputs <= 16 else 2 * -(-inputs // BLOCK)) * blocks


def network_ms(layers: list[tuple[int, int]]) -> float:
    shapes = [layer.shape for layer in WHOLE]
    return OVERHEAD + 1.5 * sum(seconds_of(shape, *pair) for shape, pair in zip(shapes, layers, strict=True))


def make_table(**changes: object) -> dict[str, Any]:
    layers, place = layers_of(WHOLE)
    for row, shape in zip(layers, place, strict=True):
        row["ms"] = [seconds_of(shape, *pair) for pair in row["counts"]]
    stairs = []
    for axis in ("inputs", "outputs"):
        counts = [(count, 64) if axis == "inputs" else (64, count) for count in range(1, 65)]
        stairs.append({**as_dict(CONV), "axis": axis, "counts": counts, "ms": [seconds_of(CONV, *c) for c in counts]})
    random = np.random.default_rng(0)
    networks = []
    for _ in range(30):
        i, o = (int(each) for each in 8 * random.integers([1, 1], [3, 9]))
        pairs = [(i, o), (o, o), (o, 10)]
        rows = [[number, *pair, 1] for number, pair in enumerate(pairs)]
        networks.append({"layers": rows, "ms": network_ms(pairs)})
    table = {
        "format": TABLE,
        "runtime": "onnxruntime-cpu",
        "version": "1.0",
        "batch": 1,
        "threads": 1,
        "machine": {"processor": "made up", "cores": 1},
        "layers": layers,
        "staircases": stairs,
        "networks": networks,
    }
    return json.loads(json.dumps(table | changes))


def as_file(table: dict[str, Any]) -> str:
    return json.dumps({**table, "sha256": digest(table)})


def test_a_table_predicts_the_machine_it_was_measured_on() -> None:
    table = parse_table(as_file(make_table()), "table.json")
    assert block_of(table) == BLOCK
    model = fit(table)
    for pairs in ([(16, 64), (64, 64), (64, 10)], [(8, 32), (32, 32), (32, 10)], [(16, 40), (40, 40), (40, 10)]):
        layers = [TimedLayer(layer.shape, *pair) for layer, pair in zip(WHOLE, pairs, strict=True)]
        assert model.seconds(layers) == pytest.approx(network_ms(pairs) / 1000, rel=0.03)


def test_a_table_knows_what_weights_beyond_the_cache_cost() -> None:
    table = make_table()
    held, per_weight = 5.0, 0.01
    for row in table["networks"]:
        weights = [pair[1] * (9 * pair[0] if n == 0 else 9 if n == 1 else pair[0]) for n, *pair, _ in row["layers"]]
        row["ms"] += per_weight * max(sum(weights) / 1000 - held, 0)
    model = fit(parse_table(as_file(table), "table.json"))
    assert 2.5 < model.cache < 7.5
    for pairs, thousands in (([(16, 64), (64, 64), (64, 10)], 10.432), ([(8, 16), (16, 16), (16, 10)], 1.456)):
        layers = [TimedLayer(layer.shape, *pair) for layer, pair in zip(WHOLE, pairs, strict=True)]
        expected = network_ms(pairs) + per_weight * max(thousands - held, 0)
        assert model.seconds(layers) == pytest.approx(expected / 1000, rel=0.04)


def test_without_a_staircase_there_are_no_blocks() -> None:
    assert block_of(parse_table(as_file(make_table(staircases=[])), "table.json")) == 1


def test_a_network_that_was_disturbed_draws_no_others_with_it() -> None:
    table = make_table()
    whole = fit(parse_table(as_file(table), "phone.json"))
    table["networks"][5]["ms"] *= 3
    disturbed = fit(parse_table(as_file(table), "phone.json"))
    assert disturbed.seconds(WHOLE) == pytest.approx(whole.seconds(WHOLE), rel=0.02)


def test_odd_counts_are_known_to_be_slow() -> None:
    model = fit(parse_table(as_file(make_table()), "table.json"))
    odd, even = (model.seconds([TimedLayer(DEPTHWISE, count, count)]) for count in (47, 48))
    assert odd > 1.5 * even


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"format": "amc latency table 0"}, "format is 'amc latency table 0', this version reads"),
        ({"batch": 0}, "batch is 0"),
        ({"threads": "1"}, "threads is '1'"),
        ({"runtime": None}, "runtime is None"),
        ({"networks": []}, "networks has 0, too few"),
        ({"extra": 1}, "extra is 1"),
    ],
)
def test_what_is_no_table_is_refused_by_field(changes: dict[str, object], said: str) -> None:
    with pytest.raises(RefusedInput, match=f"^phone.json: .*{said}") as raised:
        parse_table(as_file(make_table(**changes)), "phone.json")
    assert "\n" not in str(raised.value)


def broken_times(table: dict[str, Any]) -> None:
    table["layers"][0]["ms"].pop()


def negative_time(table: dict[str, Any]) -> None:
    table["layers"][1]["ms"][0] = -1.0


def unknown_layer(table: dict[str, Any]) -> None:
    table["networks"][3]["layers"][0][0] = 9


def other_axes(table: dict[str, Any]) -> None:
    table["layers"][0]["stride"] = [1]


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (broken_times, r"layers\.0\.ms has \d+ times for \d+ counts"),
        (negative_time, r"layers\.1\.ms\.0 is -1"),
        (unknown_layer, r"networks\.3\.layers names a layer beyond the 3"),
        (other_axes, r"layers\.0\.kernel has not one number for each axis"),
    ],
)
def test_damage_inside_is_named(damage: Callable[[dict[str, Any]], None], said: str) -> None:
    table = make_table()
    damage(table)
    with pytest.raises(RefusedInput, match=said):
        parse_table(as_file(table), "phone.json")


def test_a_changed_digit_is_found() -> None:
    content = as_file(make_table()).replace('"batch": 1', '"batch": 2')
    with pytest.raises(RefusedInput, match="not what was written"):
        parse_table(content, "phone.json")


def test_a_table_without_its_digest_is_refused() -> None:
    with pytest.raises(RefusedInput, match="sha256 is missing"):
        parse_table(json.dumps(make_table()), "phone.json")


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\x00\xff", b"null"])
def test_other_files_are_refused_in_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "phone.json"
    path.write_bytes(content)
    with pytest.raises(RefusedInput, match="measure it again"):
        read_table(path)


def test_a_table_of_another_network_is_refused() -> None:
    table = parse_table(as_file(make_table()), "phone.json")
    check_covers(table, WHOLE, "phone.json")
    with pytest.raises(RefusedInput, match="layers lacks conv 3x3 at 16x16: it was measured for another network"):
        check_covers(table, [TimedLayer(CONV._replace(size=(16, 16)), 16, 64)], "phone.json")
    with pytest.raises(RefusedInput, match="up to 16 to 64 channels, not 16 to 128"):
        check_covers(table, [TimedLayer(CONV, 16, 128)], "phone.json")
