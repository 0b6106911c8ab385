from dataclasses import replace

import pytest

from amc.measurement.latency import Latency
from amc.report.latency_figures import TableFacts, milliseconds_figure, pareto_front, staircase_figure
from amc.report.time_tables import arrived, time_rows
from amc.store.results import Result, TimeCheck
from envs.search import Trial


def latency(network: str, ms: float, speedup: float, *, steady: bool = True) -> Latency:
    return Latency(
        network, 32, 1, "cpu", 101, ms, ms, ms, "onnxruntime-cpu", speedup, speedup - 0.1, speedup + 0.1, 2000, steady
    )


def test_rows_say_what_arrived_of_the_flops(sample_result: Result) -> None:
    rows = (latency("dense", 8.0, 1.0), latency("uniform", 5.0, 1.6), latency("found", 4.0, 2.0, steady=False))
    result = replace(sample_result, latencies=rows)
    found = {row.label: [str(cell) for cell in row.cells] for row in time_rows(result, "onnxruntime-cpu")}
    assert found == {
        "batch 32": ["8 ms", "5 ms (1.60x)", "4 ms (unsteady)"],
        "95% interval": ["-", "1.50-1.70x", "-"],
        "images a second": ["4000", "6400", "8000"],
        "FLOPs as time": ["-", "74%", "-"],
        "file": ["2 kB", "2 kB", "2 kB"],
    }


def test_rows_say_how_a_target_on_time_was_met(sample_result: Result) -> None:
    rows = (latency("dense", 8.0, 1.0), latency("uniform", 5.0, 1.6), latency("found", 4.0, 2.0))
    kept = [tuple(row.kept for row in each) for each in (sample_result.uniform_strategy, sample_result.strategy)]
    checks = (
        TimeCheck("uniform", kept[0], 0.45, 0.5, chosen=True),
        TimeCheck("found", kept[0], 0.5, 0.56, chosen=False),
        TimeCheck("found", kept[1], 0.44, 0.501, chosen=True),
    )
    result = replace(sample_result, latencies=rows, time_checks=checks)
    found = {row.label: [str(cell) for cell in row.cells] for row in time_rows(result, "onnxruntime-cpu")}
    assert found["of dense, by the table"] == ["-", "45.0%", "44.0%"]
    assert found["timed before tuning"] == ["-", "50.0%", "50.1%"]


def test_runs_of_before_have_no_such_rows(sample_result: Result) -> None:
    old = tuple(Latency(name, 1, 1, "cpu", 11, 1.0, 1.0, 1.0) for name in ("dense", "uniform", "found"))
    assert time_rows(replace(sample_result, latencies=old), "torch-eager") == []


@pytest.mark.parametrize(("time", "flops", "share"), [(0.5, 0.5, 1.0), (0.75, 0.5, 0.5), (1.0, 0.5, 0.0)])
def test_share_of_the_flops(time: float, flops: float, share: float) -> None:
    assert arrived(time, flops) == share


def test_the_front_is_what_no_faster_point_reaches() -> None:
    points = [(3.0, 0.9), (1.0, 0.5), (2.0, 0.4), (2.5, 0.7), (1.0, 0.3), (4.0, 0.9)]
    assert pareto_front(points) == [(1.0, 0.5), (2.5, 0.7), (3.0, 0.9)]


def test_pictures_show_what_was_measured(sample_result: Result, sample_trials: list[Trial]) -> None:
    stairs = {"inputs": [(1, 0.5), (2, 0.5)], "outputs": [(1, 0.25), (2, 0.75)]}
    table = TableFacts(dense=0.04, layer="conv 3x3 at 8x8", channels=stairs)
    axes = staircase_figure(table).axes[0]
    assert [list(line.get_ydata()) for line in axes.lines] == [[500, 500], [250, 750]]
    assert milliseconds_figure(sample_result, sample_trials, table) is None
    timed = [replace(trial, cost=trial.cost._replace(latency=0.02)) for trial in sample_trials]
    figure = milliseconds_figure(sample_result, timed, table)
    assert figure is not None
    # Half of what the table predicts for the dense network, of the 20 ms that were measured.
    drawn = figure.axes[0].collections[0].get_offsets()
    assert {float(point[0]) for point in drawn} == {10.0}
