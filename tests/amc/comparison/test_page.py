import base64
import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from html_page import EVIL, Page
from PIL import Image

from amc.comparison.page import render
from amc.comparison.rivals import paired_table, verdict
from amc.comparison.study import LeftOut, Problem, Study, read_study
from amc.comparison.summary import correlation, policy_table
from amc.store.kept_layers import LayerKept


@pytest.fixture(scope="module")
def page(problem: Problem) -> Page:
    return Page(render(Study("study", (problem,), (LeftOut("net-data/amc/seed9", "unfinished"),))))


def test_the_page_is_well_formed_and_fetches_nothing(page: Page) -> None:
    assert page.open == []
    for tag, attributes in page.tags:
        assert tag not in {"script", "link", "iframe", "object", "embed", "base", "form"}
        assert not any(name.startswith("on") for name in attributes)
        assert (attributes.get("src") or "data:").startswith("data:")
        assert (attributes.get("href") or "#").startswith("#")
    policy = next(attributes for tag, attributes in page.tags if "http-equiv" in attributes)
    assert policy["content"] == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    assert "url(" not in page.text
    assert "http" not in page.text


def test_everything_that_was_found_is_there(page: Page, problem: Problem) -> None:
    against = paired_table(problem)
    assert against is not None
    for table in (policy_table(problem), against):
        for text in (*table.columns, *table.notes, *(part for row in table.rows for cell in row for part in cell)):
            assert text in page.text
    assert verdict(problem) in page.text
    assert correlation(problem) in page.text
    assert "net-data/amc/seed9" in page.text
    assert "How to read this" in page.text


def test_pictures_are_png_in_light_and_dark(page: Page) -> None:
    images = [attributes["src"] or "" for tag, attributes in page.tags if tag == "img"]
    assert len(images) == 6
    for image in images:
        head, _, content = image.partition(",")
        assert head == "data:image/png;base64"
        assert Image.open(io.BytesIO(base64.b64decode(content, validate=True))).format == "PNG"


def test_every_table_scrolls_inside_its_box(page: Page) -> None:
    boxes = [attributes.get("class") for tag, attributes in page.tags if tag == "div"]
    assert boxes.count("scroll") == sum(tag == "table" for tag, _ in page.tags) == 2


def test_several_problems_are_listed_first(add_run: Callable[..., Path], tmp_path: Path) -> None:
    for model in ("mobilenet", "resnet20"):
        add_run("amc", 0, [0.5], 0.9, model=model)
    page = Page(render(read_study(tmp_path)))
    targets = [attributes["href"] for tag, attributes in page.tags if tag == "a"]
    assert targets == ["#problem-1", "#problem-2"]
    assert {"problem-1", "problem-2"} <= {attributes.get("id") for _, attributes in page.tags}


def test_what_comes_from_outside_is_escaped(add_run: Callable[..., Path], page: Page, tmp_path: Path) -> None:
    layers = (LayerKept(EVIL, 0.5, 4, 8),)
    path = add_run("amc", 0, [0.5], 0.9, strategy=layers, uniform_strategy=layers) / "result.json"
    evil = dict.fromkeys(("model", "data", "policy", "granularity", "criterion", "resource"), EVIL)
    evil |= {"settings": {EVIL: EVIL}, "images": {EVIL: 3}, "versions": {EVIL: EVIL}}
    path.write_text(json.dumps(json.loads(path.read_text()) | evil))
    study = read_study(tmp_path)
    assert len(study.problems) == 1
    strange = Page(render(Study(EVIL, study.problems, (LeftOut(EVIL, EVIL),))))
    assert strange.open == []
    assert {tag for tag, _ in strange.tags} <= {tag for tag, _ in page.tags}
    images = [set(attributes) for tag, attributes in strange.tags if tag == "img"]
    assert images
    assert all(attributes <= {"src", "alt", "class"} for attributes in images)
    assert strange.text.count(EVIL) >= 6
