"""What is measured on other machines, where only NumPy and onnxruntime are."""

import ast
import os
import re
import sys
from itertools import cycle
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import nn

import amc
from amc.measurement import on_device, onnx_graph, turns
from amc.measurement.on_device import TooNoisy, digest, timed_networks
from amc.measurement.onnx_graph import layer_graph, model_bytes
from amc.measurement.turns import lower_spread, spread, steadied, take_turns, undisturbed
from amc.store.digests import parse_sealed

CONV = {
    "kind": "conv",
    "kernel": [3, 3],
    "stride": [2, 1],
    "padding": [1, 0],
    "dilation": [1, 1],
    "size": [7, 9],
    "groups": 1,
}
LAYERS: dict[str, tuple[dict[str, Any], int, int, nn.Module]] = {
    "conv": (CONV, 3, 5, nn.Conv2d(3, 5, 3, (2, 1), (1, 0))),
    "depthwise": ({**CONV, "kind": "depthwise"}, 4, 4, nn.Conv2d(4, 4, 3, (2, 1), (1, 0), groups=4)),
    "grouped": ({**CONV, "groups": 2}, 4, 6, nn.Conv2d(4, 6, 3, (2, 1), (1, 0), groups=2)),
    "linear": ({**CONV, "kind": "linear", "size": []}, 6, 4, nn.Linear(6, 4)),
    "linear at tokens": ({**CONV, "kind": "linear", "size": [3]}, 6, 4, nn.Linear(6, 4)),
}


@pytest.mark.parametrize("module", [on_device, onnx_graph, turns], ids=lambda module: module.__name__)
def test_it_needs_nothing_but_numpy_and_onnxruntime(module: ModuleType) -> None:
    tree = ast.parse(Path(str(module.__file__)).read_text())
    imported = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add(str(node.module))
    allowed = {"numpy", "numpy.typing", "onnxruntime", "amc.measurement.onnx_graph", "amc.measurement.turns"}
    assert {name for name in imported - allowed if name.partition(".")[0] not in sys.stdlib_module_names} == set()


def test_onnxruntime_is_imported_where_its_telemetry_is_off() -> None:
    sources = [path for path in Path(amc.__file__).parent.rglob("*.py") if path.name != "snippets.py"]
    loading = [path.name for path in sources if re.search(r"^ +import onnxruntime", path.read_text(), re.M)]
    assert loading == ["on_device.py"]
    on_device.load_onnxruntime()
    assert os.environ["ORT_DISABLE_TELEMETRY"] == "1"


@pytest.mark.parametrize("name", LAYERS)
def test_files_compute_what_torch_does(name: str) -> None:
    layer, inputs, outputs, module = LAYERS[name]
    graph, shapes = layer_graph(layer, inputs, outputs)
    content = model_bytes(graph, shapes)
    model = onnx.load_model_from_string(content)
    held = {each.name: torch.tensor(onnx.numpy_helper.to_array(each)) for each in model.graph.initializer}
    weight = held["weight"].T if name == "linear at tokens" else held["weight"]
    module.load_state_dict({"weight": weight, "bias": held["bias"]})
    images = torch.randn(2, *graph["input"]["shape"])
    expected = module(images) if layer["kind"] == "linear" else module(images).relu()
    session = on_device.open_session(content, 1)
    (found,) = session.run(None, {"images": images.numpy()})
    torch.testing.assert_close(torch.tensor(found), expected, rtol=1e-4, atol=1e-5)


def test_the_digest_is_that_of_other_files() -> None:
    content = {"ms": [1.25, 0.1], "name": "größer"}
    import json

    assert parse_sealed(dict[str, Any], json.dumps({**content, "sha256": digest(content)})).verified


def test_calls_take_turns() -> None:
    order: list[int] = []
    times = take_turns([lambda: order.append(0), lambda: order.append(1)], rounds=12)
    assert [len(each) for each in times] == [12, 12]
    timed = order[2 * turns.WARMUP :]
    # Each behind itself, and every other round begins with the other.
    assert timed[:8] == [0, 0, 1, 1, 1, 1, 0, 0]


def test_a_noisy_machine_gives_no_figure() -> None:
    pauses = cycle([0.0, 0.001, 0.002])

    def pause() -> None:
        import time

        time.sleep(next(pauses))

    with pytest.raises(TooNoisy, match="machine throttles or is busy"):
        timed_networks([pause], threads=2)


def test_statistics_of_times() -> None:
    times = [5.0, 1.0, 2.0, 3.0, 4.0, 100.0, 1.5, 2.5]
    assert lower_spread([10.0] * 2 + [5.0] * 4 + [10.0] * 14) == 0.5
    assert undisturbed(times) == pytest.approx((1.0 + 1.5 + 2.0 + 2.5) / 4)
    assert spread([1.0, 1.0, 1.0]) == 0


def test_what_slows_all_of_a_round_alike_is_taken_out() -> None:
    rng = np.random.default_rng(0)
    work, pace = np.array([1.0, 2.0, 5.0, 0.5]), rng.uniform(0.8, 1.3, 40)
    seconds = work[:, None] * pace * rng.normal(1, 0.001, (4, 40))
    found = np.array(steadied(seconds.tolist()))
    assert (found.std(1) / found.mean(1)).max() < 0.003
    assert found.mean(1) / found.mean(1)[0] == pytest.approx(work, rel=0.01)


def test_a_clock_that_stands_still_leaves_numbers_to_divide_by() -> None:
    times = take_turns([lambda: None, lambda: None], 12, clock=lambda: 1.0)
    assert all(seconds > 0 for each in times for seconds in each)
