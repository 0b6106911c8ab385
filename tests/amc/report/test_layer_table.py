import io
from dataclasses import replace
from pathlib import Path

import pytest
from html_page import Page
from matplotlib.figure import Figure
from rich.console import Console

from amc.report.html import render
from amc.report.layer_table import layer_lines, layers_table, whole_in_words
from amc.report.network_figure import lanes_of, network_figure
from amc.report.plots import png
from amc.store.kept_layers import LayerKept
from amc.store.results import Result, RunFolder, read_result
from envs.engine.types import LayerPart, NetworkLayer
from envs.search import Trial

STEM = NetworkLayer("stem", "Conv2d", 100, 10, 3, 16, (), (LayerPart(0, 16),))
TWIN = NetworkLayer("twin", "Conv2d", 300, 10, 16, 16, (LayerPart(0, 16),), (LayerPart(0, 16),))
JOINED = NetworkLayer("joined", "Conv2d", 200, 10, 16, 40, (LayerPart(0, 16),), (LayerPart(0, 8), LayerPart(1, 32)))
HEAD = NetworkLayer("head", "Linear", 200, 10, 40, 10, (LayerPart(1, 32),), (), whole="is an output of the network")
BLOCK = NetworkLayer("block", "Attention", 200, 10, 0, 0, whole="keeps all heads")
NETWORK = (STEM, TWIN, JOINED, HEAD, BLOCK)
FOUND = (LayerKept("twin", 0.5, 8, 16), LayerKept("head", 0.25, 8, 32))
UNIFORM = (LayerKept("twin", 0.75, 12, 16), LayerKept("head", 0.75, 24, 32))


def test_lines_say_what_is_kept_tied_and_whole() -> None:
    lines = {line.name: line for line in layer_lines(NETWORK, FOUND, UNIFORM)}
    assert list(lines) == ["stem", "twin", "joined", "head", "block"]
    assert lines["stem"][1:5] == ("10.00%", "16", "12", "8")
    assert lines["stem"].note == "searched, tied to twin, joined"
    # 40 outputs: 8 go by the first step, half of them stay; 32 by the second, a quarter stays.
    assert lines["joined"].found == str(4 + 8)
    assert lines["head"][2:] == ("10", "10", "10", "outputs whole: is an output of the network")
    assert lines["block"][2:] == ("", "", "", "whole: keeps all heads")


def test_masked_weights_count_their_units() -> None:
    masked = (NetworkLayer("a", "Conv2d", 1, 10, 3, 16, weight=0), NetworkLayer("b", "Conv2d", 1, 10, 3, 16, weight=0))
    first, second = layer_lines(masked, FOUND[:1], UNIFORM[:1])
    assert first[2:] == ("16", "12", "8", "searched, tied to b")
    assert second.found == "8"


def test_runs_of_before_show_their_steps() -> None:
    assert [line.name for line in layer_lines((), FOUND, UNIFORM)] == ["twin", "head"]


def test_one_line_says_how_much_is_kept_whole() -> None:
    assert whole_in_words(NETWORK) == "1 of 5 layers are kept whole, 20.0% of the FLOPs: block (20.0%) keeps all heads"
    assert "all 2 layers" in whole_in_words((STEM, TWIN))


@pytest.fixture
def with_network(sample_result: Result) -> Result:
    return replace(sample_result, network=NETWORK)


def test_a_terminal_and_the_report_show_every_layer(with_network: Result, sample_trials: list[Trial]) -> None:
    console = Console(file=io.StringIO(), width=120)
    console.print(layers_table(layer_lines(NETWORK, FOUND, UNIFORM)))
    page = Page(render(with_network, sample_trials, ""))
    for layer in NETWORK:
        assert layer.name in console.file.getvalue()
        assert layer.name in page.text
        assert layer.whole in page.text
    images = [attributes for tag, attributes in page.tags if tag == "img"]
    assert len(images) == 8


def test_a_result_keeps_the_network(with_network: Result, tmp_path: Path) -> None:
    RunFolder(tmp_path).write_result(with_network)
    assert read_result(tmp_path).network == NETWORK


def test_a_picture_has_a_bar_a_layer_and_a_line_a_tie() -> None:
    figure = network_figure(NETWORK, FOUND)
    assert isinstance(figure, Figure)
    (axes,) = figure.axes
    dense, *kept = axes.containers
    assert [bar.get_width() for bar in dense] == [16, 16, 40, 10]
    assert [bar.get_width() for each in kept for bar in each] == [8, 8, 12, 10]
    assert [list(line.get_ydata()) for line in axes.lines] == [[0, 1, 2]]
    assert png(figure).startswith(b"\x89PNG")


def test_lines_of_ties_share_a_lane_where_none_is_in_the_others_way() -> None:
    ties = [[0, 3], [1, 2], [4, 5], [5, 9], [6, 7], [8, 9]]
    lanes = lanes_of(ties)
    assert max(lanes) == 1
    for lane in set(lanes):
        rows = [
            row for numbers, own in zip(ties, lanes, strict=True) if own == lane for row in (numbers[0], numbers[-1])
        ]
        assert rows == sorted(rows)
        assert len(set(rows)) == len(rows)
