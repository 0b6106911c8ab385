import base64
import io
from dataclasses import replace
from pathlib import Path

import pytest
from html_page import EVIL, Page
from PIL import Image

from amc.measurement.latency import Latency
from amc.report.html import About, render
from amc.report.provenance import MADE, Provenance, Stopwatch, read_provenance
from amc.report.tables import figure_rows
from amc.store.kept_layers import LayerKept
from amc.store.results import Result
from envs.search import Trial


@pytest.fixture(scope="module")
def page(sample_result: Result, sample_trials: list[Trial]) -> Page:
    return Page(render(sample_result, sample_trials, "seed: 7\n"))


@pytest.fixture(scope="module")
def other_page(sample_result: Result, sample_trials: list[Trial]) -> Page:
    """One's own network, interrupted, of an old run whose trials were not timed, with all that may be known of it."""
    result = replace(
        sample_result,
        model="my_net",
        target=0.125,
        stopped=True,
        settings={"episodes": 400},
        images={"train": 1000, "test": 10_000},
        latencies=(Latency("found", 1, 1, "cpu", 11, 1.0, 0.9, 1.1),),
    )
    untimed = [replace(trial, seconds=float("nan"), engine_seconds=float("nan")) for trial in sample_trials]
    made = Provenance("python -m amc.search model=mobilenet 'x y'", "9.8.7", {"search": 75.0, "measuring": 2.04})
    return Page(render(result, untimed, "", About("outputs/my study/seed0", made)))


def test_the_page_is_well_formed(page: Page) -> None:
    assert page.open == []


def test_nothing_is_fetched(page: Page) -> None:
    for tag, attributes in page.tags:
        assert tag not in {"script", "link", "iframe", "object", "embed", "base", "form"}
        assert not any(name.startswith("on") for name in attributes)
        for name in ("src", "href", "srcset", "action", "poster", "data"):
            assert (attributes.get(name) or "data:").startswith("data:")
    policy = next(attributes for tag, attributes in page.tags if "http-equiv" in attributes)
    assert policy["content"] == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    assert "url(" not in page.text
    assert "@import" not in page.text
    assert "http" not in page.text


def test_every_figure_of_the_table_is_there(page: Page, sample_result: Result) -> None:
    for row in figure_rows(sample_result):
        assert row.label in page.text
        assert all(cell.figure in page.text and cell.relative in page.text for cell in row.cells)


def test_every_layer_is_there(page: Page, sample_result: Result) -> None:
    assert all(layer.layer in page.text for layer in sample_result.strategy)


def test_pictures_are_png_in_light_and_dark(page: Page) -> None:
    images = [attributes["src"] or "" for tag, attributes in page.tags if tag == "img"]
    assert len(images) == 6
    for image in images:
        head, _, content = image.partition(",")
        assert head == "data:image/png;base64"
        assert Image.open(io.BytesIO(base64.b64decode(content, validate=True))).format == "PNG"


def test_config_and_versions_are_there(page: Page) -> None:
    assert "seed: 7" in page.text
    assert "2.13.0" in page.text


def test_what_comes_from_outside_is_escaped(
    sample_result: Result, sample_trials: list[Trial], other_page: Page
) -> None:
    evil = replace(
        sample_result,
        model=EVIL,
        data=EVIL,
        policy=EVIL,
        granularity=EVIL,
        criterion=EVIL,
        resource=EVIL,
        strategy=(LayerKept(EVIL, 0.5, 4, 8),),
        uniform_strategy=(LayerKept(EVIL, 0.5, 4, 8),),
        versions={EVIL: EVIL},
    )
    latency = Latency(EVIL, 1, 1, EVIL, 11, 1.0, 0.9, 1.1)
    about = About(EVIL, Provenance(EVIL, EVIL, {EVIL: 1.0}))
    page = Page(render(replace(evil, images={EVIL: 3}, latencies=(latency,)), sample_trials, EVIL, about))
    assert page.open == []
    assert {tag for tag, _ in page.tags} == {tag for tag, _ in other_page.tags}
    images = [set(attributes) for tag, attributes in page.tags if tag == "img"]
    assert images
    assert all(attributes <= {"src", "alt", "class"} for attributes in images)
    assert page.text.count(EVIL) >= 12


def test_splits_say_how_much_may_be_chance(other_page: Page) -> None:
    assert "train 1000, test 10000" in other_page.text
    # 1.96 sqrt(2 * 0.97 * 0.03 / 10000) = 0.0047
    assert "below about 0.5 points" in " ".join(other_page.text.split())


def test_stages_are_a_table_of_what_is_left_of_the_original(
    staged_result: Result, sample_trials: list[Trial], page: Page
) -> None:
    staged = Page(render(staged_result, sample_trials, ""))
    text = " ".join(staged.text.split())
    assert staged.open == []
    assert "the last of 2 stages" in text
    for figure in ("70.7%", "70.0%", "75.0%", "93.00%", "94.00%", "49.7%", "97.50%"):
        assert figure in text
    assert "stages" not in page.text


def test_unknown_splits_are_left_out(page: Page) -> None:
    assert "may be chance" not in page.text
    assert "search 300" in page.text


def test_the_snippet_suits_the_model(page: Page, other_page: Page) -> None:
    assert "amc.load(folder)" in page.text
    assert "model=dense" in other_page.text


def test_untimed_trials_of_an_old_run_are_reported(other_page: Page) -> None:
    assert "nan" not in other_page.text


def test_the_target_is_not_rounded(other_page: Page) -> None:
    assert "Pruned to at most 12.5% of its FLOPs" in " ".join(other_page.text.split())


def test_the_report_says_what_made_it_how_long_it_took_and_how_to_use_it(other_page: Page) -> None:
    assert "python -m amc.search model=mobilenet 'x y'" in other_page.text
    assert "With amc-search 9.8.7." in other_page.text
    assert "1 min 15 s" in other_page.text
    assert "2.0 s" in other_page.text
    for line in (
        "folder = 'outputs/my study/seed0'",
        "python -m amc.export 'outputs/my study/seed0' --format onnx:",
        "InferenceSession('outputs/my study/seed0/pruned.onnx')",
        "torch.export.load('outputs/my study/seed0/pruned.pt2')",
    ):
        assert line in other_page.text


def test_an_interrupted_search_is_called_so(page: Page, other_page: Page) -> None:
    text = " ".join(other_page.text.split())
    assert "The search was interrupted" in text
    assert "interrupted before all 400 were played" in text
    assert "interrupted" not in page.text


def test_what_made_a_run_is_read_back_and_damage_does_no_harm(tmp_path: Path) -> None:
    watch = Stopwatch()
    with watch.part("search"), watch.part("inside"):
        pass
    made = Provenance("python -m amc.search", seconds=watch.seconds)
    (tmp_path / MADE).write_text(made.as_json())
    assert read_provenance(tmp_path) == made
    assert list(watch.seconds) == ["search", "inside"]
    (tmp_path / MADE).write_text(made.as_json().replace("search", "shred"))
    assert read_provenance(tmp_path) is None
    (tmp_path / MADE).unlink()
    assert read_provenance(tmp_path) is None
