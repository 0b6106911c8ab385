import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from amc.comparison.figures import comparison_figures, curves_figure, front_figure, strategies_figure
from amc.comparison.study import Policy, Problem, read_study
from amc.report.figure_style import DARK, LIGHT, Palette
from amc.report.plots import png
from amc.store.kept_layers import LayerKept

AddRun = Callable[..., Path]


def opened(figure: Figure) -> Image.Image:
    image = Image.open(io.BytesIO(png(figure)))
    image.load()
    return image


@pytest.mark.parametrize("palette", [LIGHT, DARK])
def test_every_picture_is_a_png_on_its_paper(problem: Problem, palette: Palette) -> None:
    figures = comparison_figures(problem, palette)
    assert len(figures) >= 3
    for figure in figures.values():
        image = opened(figure)
        assert image.width == 900
        assert f"#{np.asarray(image.convert('RGB'))[0, 0].tobytes().hex()}" == palette.paper


def test_a_curve_is_the_mean_of_the_best_so_far_in_its_band(problem: Problem) -> None:
    axes = curves_figure(problem).axes[0]
    lines = {line.get_label(): np.asarray(line.get_ydata()) for line in axes.lines}
    # seeds 0, 1, 2 of amc reach 0.80, 0.81, 0.82 at the fourth evaluation and keep it
    assert lines["amc"] == pytest.approx([0.5, 0.6, 0.7, 0.81, 0.81])
    assert lines["random"] == pytest.approx([0.7, 0.9, 0.9, 0.9, 0.9])
    heights = [band.get_paths()[0].vertices[:, 1] for band in axes.collections]
    assert (heights[0].min(), heights[0].max()) == pytest.approx((0.5, 0.82))


def test_searches_of_different_length_and_infeasible_starts_can_be_drawn(add_run: AddRun, tmp_path: Path) -> None:
    add_run("amc", 0, [-0.9, -0.8, 0.5, 0.6], 0.9)
    add_run("amc", 1, [0.4, 0.7], 0.9)
    add_run("uniform", 0, [0.55], 0.9)
    (problem,) = read_study(tmp_path).problems
    axes = curves_figure(problem).axes[0]
    amc = np.asarray(next(line for line in axes.lines if line.get_label() == "amc").get_ydata())
    assert np.isnan(amc[:2]).all()
    assert amc[2:] == pytest.approx([0.6, 0.65])
    for figure in comparison_figures(problem).values():
        opened(figure)


def test_the_front_and_the_networks_found_are_marked(problem: Problem) -> None:
    axes = front_figure(problem).axes[0]
    fronts = {line.get_label(): [np.asarray(data).tolist() for data in line.get_data()] for line in axes.lines}
    # random: 0.7 at 40% and 0.9 at 41% of the FLOPs; all after are dearer and worse
    assert fronts["random"] == [pytest.approx([0.40, 0.41]), pytest.approx([0.7, 0.9])]
    found = [points.get_offsets()[0] for points in axes.collections if len(points.get_offsets()) == 3]
    assert tuple(found[1]) == pytest.approx((0.497, 0.92))


def test_strategies_stand_beside_uniform(problem: Problem) -> None:
    axes = strategies_figure(problem).axes[0]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["uniform", "amc", "random"]
    (image,) = axes.images
    assert np.asarray(image.get_array()) == pytest.approx(np.array([[12 / 16, 0.5, 0.5], [90 / 128, 0.25, 0.25]]))
    assert [text.get_text() for text in axes.texts] == ["75", "50", "50", "70", "25", "25"]


def test_names_of_strangers_are_drawn_as_they_are(problem: Problem) -> None:
    first, _ = problem.policies
    layers = tuple(LayerKept(name, 0.5, 4, 8) for name in ("$\\frac{", "_hidden", "\u6f22"))
    runs = tuple(
        replace(run, result=replace(run.result, strategy=layers, uniform_strategy=layers)) for run in first.runs
    )
    evil = Problem(problem.title, {}, (Policy("$\\frac{", runs), Policy("_hidden", runs), Policy("\u6f22" * 70, runs)))
    axes = strategies_figure(evil).axes[0]
    # No formula, no label that matplotlib hides, no letter that its font lacks.
    names = ["\\$\\frac{", " _hidden", "?"]
    assert [tick.get_text() for tick in axes.get_yticklabels()] == names
    assert [tick.get_text() for tick in axes.get_xticklabels()][1:3] == names[:2]
    for figure in comparison_figures(evil).values():
        opened(figure)


def test_many_policies_and_layers_can_be_drawn(problem: Problem) -> None:
    runs = problem.policies[0].runs[:1]
    layers = tuple(LayerKept(f"layer.{number}", 0.5, 4, 8) for number in range(500))
    runs = (replace(runs[0], result=replace(runs[0].result, strategy=layers, uniform_strategy=layers)),)
    many = Problem("many", {}, tuple(Policy(f"policy {number}", runs) for number in range(12)))
    for figure in comparison_figures(many).values():
        assert opened(figure).height < 5000
