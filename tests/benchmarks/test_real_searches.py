"""Searches on real networks, with the figures that are made of them."""

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import real_searches
from benchmarks.landscapes import catalog
from benchmarks.real_searches import CHANCE, with_regrets


def row(policy: str, metric: dict[str, float], landscape: str = "a") -> dict[str, Any]:
    return {"game": {"landscape": landscape, "target": 0.3, "policy": policy, "seed": 0}, "metric": metric}


def test_a_regret_is_0_for_the_best_of_a_cell_and_1_for_chance() -> None:
    first = [row(CHANCE, {"50": 0.5}), row("x", {"1": 0.6, "9": 0.8}), row("y", {"1": 0.4, "9": 0.9})]
    other = [row(CHANCE, {"50": 0.0}, "b"), row("x", {"1": 0.0, "9": 0.1}, "b")]
    found = {
        (each["game"]["landscape"], each["game"]["policy"]): each["regret"] for each in with_regrets(first + other)
    }
    assert found["a", "x"] == pytest.approx({"1": 0.75, "9": 0.25})
    assert found["a", "y"] == pytest.approx({"1": 1.25, "9": 0.0})
    assert found["b", "x"] == pytest.approx({"1": 1.0, "9": 0.0})


def test_searches_go_on_where_they_were_stopped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny = ("model=plain20", "model.width=0.25", "data=digits", "train.epochs=0", "data.search=50")
    monkeypatch.setitem(catalog.NETWORKS, "plain20-tiny", (*tiny, "data.calibration=20", "adaptive_bn=10"))
    common = ["--output", str(tmp_path / "rows.jsonl"), "--networks", "plain20-tiny", "--targets", "0.5"]
    keys = [f"cache_dir={tmp_path}"]

    def play(seeds: str) -> tuple[dict[str, Any], list[str]]:
        policies = ["--policies", "amc", "random", "uniform", "--episodes", "4", "--seeds", seeds]
        real_searches.main([*common, *policies, "--", *keys])
        written = capsys.readouterr()
        return json.loads(written.out.splitlines()[-1])["figures"], written.err.splitlines()

    figures, before = play("1")
    assert figures.keys() == {"1", "4"}
    assert figures["4"].keys() == {"amc", "random", "uniform"}
    assert min(each["regret"] for each in figures["4"].values()) == pytest.approx(0.0)
    _, more = play("2")
    assert len(before) == 1 + 3
    assert len(more) == 2  # amc and random with another seed
