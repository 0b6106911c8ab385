"""Searches that go by a table of latencies, as a user runs them; the table is of a machine that is made up."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from amc.measurement.on_device import TABLE, digest
from amc.runtimes.request import compact_pruner, layers_of, random_counts
from amc.zoo.models.registry import build_model
from envs.engine.settings import EngineSettings
from envs.engine.torch_engine import TorchEngine
from envs.engine.types import Evaluation

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[1]
RUN = "outputs/default/mobilenet-digits/random/seed0"
WIDTH = 0.25
BLOCK = 8


def milliseconds(kind: str, inputs: int, outputs: int) -> float:
    blocks = -(-outputs // BLOCK)
    return 0.01 * blocks if kind == "depthwise" else 0.002 + 0.001 * -(-inputs // BLOCK) * blocks


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of a machine that computes eight channels at a time."""
    images = torch.zeros(1, 1, 8, 8)
    settings = EngineSettings(reconstruct=False, adaptive_bn=0)
    network = build_model("mobilenet", 10, 1, WIDTH).eval()
    engine = TorchEngine(network, images, images, lambda _: Evaluation(0, 0, 1), settings)
    pruner = compact_pruner(engine)
    layers, place = layers_of(pruner.timed_layers([layer.units for layer in engine.layers]))
    for row in layers:
        row["ms"] = [milliseconds(row["kind"], *pair) for pair in row["counts"]]
    networks = []
    for kept in random_counts(engine, 24, 0):
        timed = pruner.timed_layers(kept)
        ms = 0.01 + sum(milliseconds(layer.shape.kind, layer.inputs, layer.outputs) for layer in timed)
        rows = [[place[layer.shape], layer.inputs, layer.outputs, layer.calls] for layer in timed]
        networks.append({"layers": rows, "ms": ms})
    content: dict[str, Any] = {
        "format": TABLE,
        "runtime": "torch-eager",
        "version": "1",
        "batch": 1,
        "threads": 1,
        "machine": {"processor": "made up"},
        "layers": layers,
        "staircases": [],
        "networks": networks,
    }
    content = json.loads(json.dumps(content))
    path = tmp_path_factory.mktemp("table") / "phone.json"
    path.write_text(json.dumps({**content, "sha256": digest(content)}))
    return path


def search(folder: Path, cache: Path, *keys: str) -> subprocess.CompletedProcess[str]:
    asked = ["experiment=smoke", "policy=random", f"model.width={WIDTH}", "resource=latency", f"cache_dir={cache}"]
    return subprocess.run(
        [sys.executable, "-m", "amc.search", *asked, *keys],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=900,
    )


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def test_a_table_gives_the_same_search_in_another_process(table: Path, cache: Path, tmp_path: Path) -> None:
    trials = []
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        process = search(folder, cache, f"latency.table={table}", "round_to=auto", "target=0.6")
        assert process.returncode == 0, process.stderr
        trials.append((folder / RUN / "trials.jsonl").read_text())
        result = json.loads((folder / RUN / "result.json").read_text())
        assert {row["runtime"] for row in result["latencies"]} == {"torch-eager"}
        assert (folder / RUN / "latency.json").read_text() == table.read_text()
        # What the table says is what counts, of whatever machine it is.
        assert result["time_checks"] == []
        assert not (folder / RUN / "measured_shares.json").exists()
    assert trials[0] == trials[1]
    rows = [json.loads(line) for line in trials[0].splitlines()]
    dense = 0.01 + sum(milliseconds(*each) for each in _dense())
    assert all(row["cost"]["latency"] <= 0.6 * 1.05 * dense / 1000 for row in rows)
    assert all(row["feasible"] for row in rows)


def _dense() -> list[tuple[str, int, int]]:
    network = build_model("mobilenet", 10, 1, WIDTH)
    found = []
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):
            kind = "depthwise" if module.groups > 1 else "conv"
            found.append((kind, module.in_channels, module.out_channels))
        elif isinstance(module, torch.nn.Linear):
            found.append(("linear", module.in_features, module.out_features))
    return found


def test_a_target_on_time_is_met_by_the_clock_and_the_same_folder_gives_the_same_network(
    cache: Path, tmp_path: Path
) -> None:
    keys = ("resource=[flops,latency]", "target=[0.8,0.8]", "round_to=auto", "device_profile=onnxruntime-cpu")
    assert (process := search(tmp_path, cache, *keys)).returncode == 0, process.stderr
    run = tmp_path / RUN
    result = json.loads((run / "result.json").read_text())
    checks = result["time_checks"]
    assert next(row["network"] for row in checks if row["chosen"]) == "uniform"
    by_kept = [tuple(row["kept"]) for row in checks if row["chosen"]]
    assert tuple(row["kept"] for row in result["uniform_strategy"]) == by_kept[0]
    assert tuple(row["kept"] for row in result["strategy"]) in by_kept
    network, shares = (run / "pruned.safetensors").read_bytes(), (run / "measured_shares.json").read_text()
    for name in ("result.json", "SHA256SUMS"):
        (run / name).unlink()
    assert (process := search(tmp_path, cache, *keys)).returncode == 0, process.stderr
    assert (run / "pruned.safetensors").read_bytes() == network
    assert (run / "measured_shares.json").read_text() == shares
    assert json.loads((run / "result.json").read_text())["time_checks"] == checks


def test_a_damaged_table_is_refused_in_one_line(table: Path, cache: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.json"
    damaged.write_text(table.read_text().replace('"threads": 1', '"threads": 2'))
    process = search(tmp_path, cache, f"latency.table={damaged}")
    assert process.returncode == 4
    assert process.stderr.strip().splitlines()[-1].startswith(f"amc.search: {damaged}: no latency table (its content")


def test_a_table_of_another_network_is_refused_in_one_line(table: Path, cache: Path, tmp_path: Path) -> None:
    process = search(tmp_path, cache, f"latency.table={table}", "model=resnet20")
    assert process.returncode == 4
    assert (
        "layers has conv 3x3 at 8x8 up to 1 to 8 channels, not 4 to 4: it was measured for a narrower" in process.stderr
    )
