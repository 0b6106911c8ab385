import re
from dataclasses import replace

import numpy as np
import pytest

from amc.report.figure_style import DARK, LIGHT, Palette
from amc.report.html import render
from amc.report.plots import figures, png
from amc.report.sensitivity_figure import sensitivity_figure
from amc.store.kept_layers import LayerKept
from amc.store.results import Result
from envs.engine.types import Evaluation
from envs.search import Trial


@pytest.fixture(scope="module")
def scored(sample_trials: list[Trial]) -> list[Trial]:
    """The sample, before it the dense network and three networks with one layer pruned."""
    scores = {(1.0, 1.0): 0.98, (0.5, 1.0): 0.9, (1.0, 0.25): 0.7, (0.25, 1.0): 0.4}
    points = [
        replace(sample_trials[-1], strategy=strategy, reward=metric - 1, evaluation=Evaluation(metric, 0.1, 300))
        for strategy, metric in scores.items()
    ]
    return [replace(trial, index=index) for index, trial in enumerate([*points, *sample_trials])]


@pytest.mark.parametrize("palette", [LIGHT, DARK])
def test_a_panel_shows_the_probes_of_a_layer_and_what_is_kept(
    scored: list[Trial], sample_result: Result, palette: Palette
) -> None:
    figure = sensitivity_figure(scored, sample_result.strategy, palette)
    assert figure is not None
    png(figure)
    first, second = figure.axes
    assert (first.get_title("left"), second.get_title("left")) == ("features.0", "classifier")
    curve, kept = first.lines
    assert np.asarray(curve.get_xydata()).tolist() == [[0.25, 0.4], [0.5, 0.9], [1.0, 0.98]]
    assert np.asarray(kept.get_xdata()).tolist() == [0.5, 0.5]
    assert np.asarray(second.lines[0].get_xydata()).tolist() == [[0.25, 0.7], [1.0, 0.98]]


@pytest.mark.parametrize("panels", [1, 2, 3, 4, 31])
def test_titles_scales_and_names_stay_inside_the_picture(panels: int, scored: list[Trial]) -> None:
    layers = [LayerKept(f"$\\frac{{a.very.long.name.of.a.layer{step}", 0.5, 4, 8) for step in range(panels)]
    strategies = [(1.0,) * panels, *((*(1.0,) * step, 0.5, *(1.0,) * (panels - step - 1)) for step in range(panels))]
    trials = [replace(scored[0], index=index, strategy=strategy) for index, strategy in enumerate(strategies)]
    figure = sensitivity_figure(trials, layers)
    assert figure is not None
    png(figure)
    assert len(figure.axes) == panels
    (legend,) = figure.legends
    for artist in (*figure.texts, legend, *(axes.title for axes in figure.axes)):
        box = artist.get_window_extent()
        assert figure.bbox.x0 <= box.x0
        assert box.x1 <= figure.bbox.x1
        assert figure.bbox.y0 <= box.y0
        assert box.y1 <= figure.bbox.y1
    heading = legend.get_window_extent()
    assert not any(text.get_window_extent().overlaps(heading) for text in figure.texts)


def test_there_is_no_picture_without_probes(
    scored: list[Trial], sample_trials: list[Trial], sample_result: Result
) -> None:
    assert "sensitivity" not in figures(sample_result, sample_trials)
    assert sensitivity_figure(scored[1:], sample_result.strategy) is None, "nothing to compare with"
    assert sensitivity_figure(scored[:1], sample_result.strategy) is None, "no layer"
    assert "sensitivity" in figures(sample_result, scored)


def test_the_report_shows_the_picture_of_probes_only_where_there_are_some(
    scored: list[Trial], sample_trials: list[Trial], sample_result: Result
) -> None:
    for trials, pictures in ((sample_trials, 3), (scored, 4)):
        assert len(re.findall("<figure>", render(sample_result, trials, ""))) == pictures


def test_layers_that_were_not_probed_are_left_out(scored: list[Trial], sample_result: Result) -> None:
    figure = sensitivity_figure([scored[0], scored[2]], sample_result.strategy)
    assert figure is not None
    assert [axes.get_title("left") for axes in figure.axes] == ["classifier"]
