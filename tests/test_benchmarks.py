"""The scripts in benchmarks/, on settings that take seconds."""

import importlib
import json
import os
import subprocess
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch
from preloaded_python import preloaded_python
from torch.nn.modules.module import register_module_forward_pre_hook

from benchmarks import cpu_clock, study, study_on_gpu
from benchmarks.study_cell import make_cell

ROOT = Path(__file__).parents[1]
SECONDS_A_LAYER = 3e-4


def figures_of(script: str, *arguments: str, timeout: float = 300) -> dict[str, Any]:
    """Run a script and return the line of JSON that it ends with."""
    process = subprocess.run(
        [*preloaded_python(), ROOT / "benchmarks" / script, *arguments],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=timeout,
    )
    assert process.returncode == 0, process.stderr
    return dict(json.loads(process.stdout.splitlines()[-1]))


@pytest.mark.slow
def test_the_table_of_criteria_has_every_pair(tmp_path: Path) -> None:
    arguments = ["--images", "100", "--steps", "2", "--targets", "0.5", "0.3", "--output", str(tmp_path / "table.md")]
    keys = ["model=resnet20", "data=digits", "model.width=0.5", "train.epochs=2", "data.calibration=50", "threads=1"]
    result = figures_of("criteria.py", *arguments, *keys, f"cache_dir={tmp_path}")
    assert len(result["rows"]) == 2 * (8 + 4 * 5)
    assert all(row["kept"] <= row["target"] for row in result["rows"])
    assert len((tmp_path / "table.md").read_text().splitlines()) == 4 + len(result["rows"])


@pytest.mark.slow
def test_the_table_of_networks_tells_what_became_of_each(tmp_path: Path) -> None:
    try:
        importlib.import_module("torchvision"), importlib.import_module("timm")
    except (ImportError, RuntimeError) as error:
        pytest.skip(str(error))
    table = tmp_path / "zoo.md"
    result = figures_of("zoo.py", "--only", "torchvision/squeezenet1_1", "--output", str(table))
    assert (result["pruned"], result["broken"]) == (1, 0)
    assert all(result["rows"][0]["checks"].values())
    assert "| torchvision/squeezenet1_1 | 3x64x64 | pruned |" in table.read_text()


@pytest.mark.parametrize(
    ("script", "arguments", "figures"),
    [
        ("agent.py", ["--episodes", "40"], {"layers", "warm_up_ms", "learning_ms"}),
        ("startup.py", ["model=resnet20", "--images", "20", "--rounds", "1"], {"passes", "peak_gb"}),
        ("threads.py", ["model=resnet20", "train.epochs=1", "--rounds", "1"], {"speedup_target_0.5"}),
    ],
)
def test_a_short_benchmark_ends_with_its_figures(script: str, arguments: list[str], figures: set[str]) -> None:
    result = figures_of(script, *arguments, timeout=120)
    assert figures <= result.keys()
    assert all(result[figure] > 0 for figure in figures)


def test_simulated_workers_are_busy_and_no_busier_than_they_can_be() -> None:
    arguments = ["--policies", "random", "--workers", "1", "64", "--seconds", "10", "--each", "4"]
    result = figures_of("scale.py", *arguments)
    one, many = result["points"]
    assert one["efficiency"] == pytest.approx(1, abs=0.01)
    assert 0.6 < many["efficiency"] == result["least_at_64"] <= 1
    assert many["speed_up"] == pytest.approx(64 * many["efficiency"])


def test_fidelity_ranks_every_reward_and_goes_on_where_it_stopped(tmp_path: Path) -> None:
    cell = ["--cell", "tiny", "model=resnet20", "data=digits", "model.width=0.5", "train.epochs=1", "data.search=200"]
    cell += ["data.calibration=50", "target=0.4", "threads=1", f"cache_dir={tmp_path}"]
    options = ["--output", str(tmp_path), "--steps", "2", "--short", "1", "--batch-size", "16", "--repair"]
    options += ["--learns-from", "distilled"]
    figures_of("fidelity.py", *options, "--strategies", "4", *cell)
    record = tmp_path / "tiny.jsonl"
    first = record.read_text()
    result = figures_of("fidelity.py", *options, "--strategies", "6", *cell)
    assert record.read_text().startswith(first)
    assert len(record.read_text().splitlines()) == 1 + 6
    scored = ["accuracy", "loss", "divergence"]
    names = [*scored, *(f"{name} after 1 distilled steps" for name in scored)]
    assert list(result["cells"]["tiny"]) == list(result["mean"]) == names
    for figures in result["mean"].values():
        assert -1 <= figures["all_interval"][0] <= figures["all_interval"][1] <= 1
        assert -1 <= figures["half"] <= 1
    assert result["mean"]["accuracy"]["all"] == result["cells"]["tiny"]["accuracy"]["all"]


@pytest.fixture
def clock_of_work(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let the study's seconds be what an undisturbed machine would take: so much for each layer that runs."""
    layers = count()

    def ticks(*_: object) -> None:
        next(layers)

    hook = register_module_forward_pre_hook(ticks)
    monkeypatch.setattr(cpu_clock, "cpu_seconds", lambda: SECONDS_A_LAYER * next(layers))
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
    hook.remove()


@pytest.mark.slow
@pytest.mark.usefixtures("clock_of_work")
def test_the_study_spends_the_same_time_on_every_method_and_goes_on_where_it_stopped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cell = ["--cell", "tiny", "model=resnet20", "data=digits", "model.width=0.5", "train.epochs=1", "data.search=200"]
    cell += ["data.calibration=100", "target=0.4", f"cache_dir={tmp_path}"]
    options = ["--output", str(tmp_path), "--minutes", "0.1", "--methods", "amc", "uniform", "torch-pruning taylor"]
    study.main([*options, "--seeds", "0", *cell])
    record = tmp_path / "tiny.jsonl"
    first = record.read_text()
    study.main([*options, "--seeds", "0", "1", *cell])
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert record.read_text().startswith(first)
    rows = [json.loads(line) for line in record.read_text().splitlines()[1:]]
    assert [(row["seed"], row["method"]) for row in rows] == [
        (seed, method) for seed in (0, 1) for method in ("amc", "uniform", "torch-pruning taylor")
    ]
    for row in rows:
        assert row["search_seconds"] + row["steps"] * row["step_seconds"] == pytest.approx(6, rel=0.05)
        # Counted by torch-pruning, which has batch norms among the FLOPs.
        assert row["flops"] < 0.43
    methods = result["cells"]["tiny"]["0.1"]
    assert methods["uniform"]["ours_less_this"] == pytest.approx(
        methods["amc"]["test"] - methods["uniform"]["test"], abs=2e-4
    )
    assert methods["uniform"]["steps"] > methods["amc"]["steps"]
    assert methods["uniform"]["p_holm"] >= methods["uniform"]["p"]
    assert sorted(result["mean_ranks"]) == sorted(methods)
    assert (tmp_path / "minutes.png").stat().st_size > 5000


@pytest.mark.slow
@pytest.mark.usefixtures("clock_of_work")
def test_steps_that_were_planned_are_taken_elsewhere(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    keys = ["model=resnet20", "data=digits", "model.width=0.5", "train.epochs=1", "data.search=200", "target=0.4"]
    cache, plans, output = f"cache_dir={tmp_path}", str(tmp_path / "plans"), str(tmp_path / "study")
    methods = ["--methods", "uniform", "torch-pruning taylor"]
    study.main(["--plan", "--output", plans, "--minutes", "0.1", *methods, "--seeds", "0", "--cell", "a", *keys, cache])
    options = ["--plans", plans, "--output", output, "--device", "cpu", "--processes", "1", "--keys", cache]
    study_on_gpu.main(options)
    study_on_gpu.main(options)  # finds everything done
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["steps"] == 0
    study.main(["--output", output, "--show", "--minutes", "0.1", "--ours", "uniform"])
    shown = json.loads(capsys.readouterr().out.splitlines()[-1])
    plan, rows = (
        [json.loads(line) for line in (tmp_path / folder / "a.jsonl").read_text().splitlines()[1:]]
        for folder in ("plans", "study")
    )
    assert [{name: row[name] for name in planned} for planned, row in zip(plan, rows, strict=True)] == plan
    assert shown["over_cells"]["torch-pruning taylor"]["of"] == 1
    cell = make_cell([*keys, cache, "threads=1"])
    network = cell.maker("uniform", seed=0)(rows[0]["strategy"])
    cell.tuner("uniform", 0).train_steps(network, rows[0]["steps"])
    assert rows[0]["test"] == cell.score(network)
    assert shown["cells"]["a"]["0.1"]["uniform"]["test"] == round(rows[0]["test"], 4)


@pytest.mark.slow
def test_time_to_quality_tells_who_was_as_good_and_when(tmp_path: Path) -> None:
    keys = ["data=digits", "data.calibration=200", "data.search=300", "train.epochs=6", f"cache_dir={tmp_path}"]
    options = ["--episodes", "5", "--timed", "1", "--most", "4", "--policies", "reconstruction", "uniform"]
    figures = figures_of("time_to_quality.py", *options, *keys)
    assert figures["amc_procedure"]["seconds"] > figures["before_engine_seconds"] > 0
    assert set(figures["ways"]) == {f"{p}, {s}" for p in ("reconstruction", "uniform") for s in ("full", "coreset")}
    assert all((way["seconds"] is None) == (way["times_sooner"] is None) for way in figures["ways"].values())


@pytest.mark.slow
def test_an_episode_is_compared_with_racing_and_a_coreset(tmp_path: Path) -> None:
    keys = ["data=digits", "data.calibration=200", "data.search=300", f"cache_dir={tmp_path}"]
    figures = figures_of("episode.py", "--short", "--unseen", *keys, timeout=900)
    assert -1 <= figures["coreset_rank_correlation"] <= 1
    assert figures["speedup_coreset"] > 0
    assert all(0 < images <= 300 for images in figures["coreset_images"].values())
