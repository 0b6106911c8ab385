import io
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from amc.report.figure_style import DARK, LIGHT, Palette, finish, new_axes
from amc.report.plots import best_so_far, channels_figure, figures, png, resource_figure, reward_figure
from amc.store.kept_layers import LayerKept
from amc.store.results import Result
from envs.search import Trial


def opened(figure: Figure) -> Image.Image:
    image = Image.open(io.BytesIO(png(figure)))
    image.load()
    return image


def texts(figure: Figure) -> list[str]:
    axes = figure.axes[0]
    (legend,) = figure.legends
    return [text.get_text() for text in (*axes.texts, *axes.get_yticklabels(), *legend.get_texts())]


@pytest.mark.parametrize("palette", [LIGHT, DARK])
def test_every_picture_is_a_png_on_its_paper(
    sample_result: Result, sample_trials: list[Trial], palette: Palette
) -> None:
    drawn = figures(sample_result, sample_trials, palette)
    assert {"reward", "resource", "channels"} <= set(drawn)
    for figure in drawn.values():
        image = opened(figure)
        assert image.format == "PNG"
        assert image.width == 900
        pixels = np.asarray(image.convert("RGB"))
        assert f"#{pixels[0, 0].tobytes().hex()}" == palette.paper
        assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 10


def test_the_best_so_far_ignores_trials_over_the_target(sample_trials: list[Trial]) -> None:
    assert best_so_far(sample_trials) == [(1, -0.9), (2, -0.3), (4, -0.1), (6, -0.05), (8, -0.04)]


def test_the_best_so_far_reaches_the_last_episode(sample_trials: list[Trial]) -> None:
    (line,) = reward_figure(sample_trials).axes[0].lines
    assert np.asarray(line.get_xdata()).tolist() == [1, 2, 4, 6, 8, 9]
    assert np.asarray(line.get_ydata()).tolist() == [-0.9, -0.3, -0.1, -0.05, -0.04, -0.04]


def test_trials_below_the_axis_are_counted_at_its_edge(sample_trials: list[Trial]) -> None:
    figure = reward_figure(sample_trials)
    bottom, _ = figure.axes[0].get_ylim()
    below = sum(trial.reward < bottom for trial in sample_trials)
    assert below > 0
    assert f"{below} further below" in texts(figure)


@pytest.mark.parametrize("number", [1, 2])
def test_few_or_equal_trials_can_be_drawn(sample_result: Result, sample_trials: list[Trial], number: int) -> None:
    for figure in figures(sample_result, sample_trials[:1] * number).values():
        opened(figure)


def test_a_search_without_a_feasible_trial_can_be_drawn(sample_trials: list[Trial]) -> None:
    figure = reward_figure([trial for trial in sample_trials if not trial.feasible])
    assert "best so far" not in texts(figure)
    opened(figure)


@pytest.mark.parametrize(
    ("resource", "axis"),
    [("flops", "FLOPs kept"), ("params", "parameters kept"), ("memory", "memory kept"), ("latency", "FLOPs kept")],
)
def test_accuracy_is_drawn_against_the_limited_resource(
    sample_result: Result, sample_trials: list[Trial], resource: str, axis: str
) -> None:
    figure = resource_figure(replace(sample_result, resource=resource), sample_trials)
    assert figure.axes[0].get_xlabel() == axis
    opened(figure)


def test_channels_are_drawn_for_every_layer_under_its_own_name() -> None:
    # Neither a formula nor a legend entry of matplotlib's: both names would mean something to it.
    names = ["$\\frac{", "_hidden", "a.very.long.name.of.a.layer.that.goes.on"]
    layers = [LayerKept(name, 0.5, 4, 8) for name in names]
    figure = channels_figure(layers, layers)
    shown = texts(figure)
    assert names[0] in shown
    assert names[1] in shown
    assert any(name.startswith("…") and names[2].endswith(name[1:]) for name in shown)
    assert shown.count("4 of 8") == 3
    opened(figure)


def test_bars_are_as_long_as_what_is_kept(sample_result: Result) -> None:
    axes = channels_figure(sample_result.strategy, sample_result.uniform_strategy).axes[0]
    dense, found = axes.containers
    assert [bar.get_width() for bar in dense] == [1, 1]
    assert [bar.get_width() for bar in found] == [8 / 16, 32 / 128]
    (ticks,) = axes.collections
    assert np.asarray(ticks.get_offsets()).tolist() == [[12 / 16, 0], [90 / 128, 1]]


def test_the_better_half_of_what_is_within_the_target_is_seen_whatever_lies_beyond(
    sample_trials: list[Trial], sample_result: Result
) -> None:
    beyond = [replace(sample_trials[-1], index=9 + number, reward=-0.001 * number) for number in range(40)]
    trials = [*sample_trials, *beyond]
    rewards = sorted(trial.reward for trial in trials if trial.feasible)
    low, high = reward_figure(trials).axes[0].get_ylim()
    assert low < rewards[len(rewards) // 2] < rewards[-1] < max(trial.reward for trial in beyond) < high
    low, _ = resource_figure(sample_result, trials).axes[0].get_ylim()
    assert low < 1 + rewards[len(rewards) // 2]
    assert "over the target" in texts(resource_figure(sample_result, trials))


@pytest.mark.parametrize("letters", [3, 12, 20])
@pytest.mark.parametrize("number", [1, 3, 4, 8])
def test_the_names_of_the_series_stay_inside_the_picture(number: int, letters: int) -> None:
    axes = new_axes(3, LIGHT)
    labels = [f"{name}".ljust(letters, "n") for name in range(number)]
    for label in labels:
        axes.plot([0, 1], [0.5, 0.95], label=label)
    axes.set_ylabel("a name")
    figure = finish(axes, "title", labels, LIGHT)
    opened(figure)
    (legend,) = figure.legends
    assert figure.bbox.x0 <= legend.get_window_extent().x0
    assert legend.get_window_extent().x1 <= figure.bbox.x1
    assert legend.get_window_extent().y0 >= axes.get_window_extent().y1
