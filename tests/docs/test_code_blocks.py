"""Every code block of README and of the documentation runs as a reader would run it, with small settings.

A page is one session: its Python blocks share their names, its commands one folder. A block with a title is a file.
``<!-- skip: next "why" -->`` in front of a block leaves it out, and ``SKIPPED`` lists what is left out;
``<!-- invisible-code-block: python ... -->`` runs what readers need not see.
"""

import os
import re
import subprocess
from collections import Counter
from contextlib import nullcontext, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unittest import SkipTest

import pytest
from postgresql_server import postgresql_server, programs
from preloaded_python import preloaded_python
from slurm_node import is_installed, slurm_node
from sybil import Document, Example, Sybil
from sybil.parsers.markdown import CodeBlockParser, PythonCodeBlockParser, SkipParser
from sybil.parsers.markdown.lexers import RawFencedCodeBlockLexer
from sybil.region import Region

import amc
from amc.zoo.data.fashion_mnist import DEBIAN_FOLDER

ROOT = Path(__file__).parents[2]
RUN_ALWAYS = [ROOT / "README.md", ROOT / "docs/tutorials/first_search.md", ROOT / "docs/tutorials/own_network.md"]
RUN_SLOWLY = [
    path for path in sorted((ROOT / "docs").rglob("*.md")) if path not in RUN_ALWAYS and "```" in path.read_text()
]
SKIPPED = Counter(
    {
        "installs packages": 1,
        "needs Fashion-MNIST": 1,
        "needs ray": 1,
        "needs PostgreSQL": 1,
        "needs SLURM": 2,
        "needs timm and a folder of photos": 1,
        "starts a server": 2,
        "needs an account": 1,
        "times the machine that it runs on": 2,
        "exports for half a minute": 1,
        "takes minutes": 1,
        "takes hours": 1,
        "needs transformers and a trained model": 1,
        "plays for minutes": 1,
        "records for minutes": 1,
        "trains a network": 1,
    }
)
"""Why blocks are left out, and how many for each reason."""
SMALL = "experiment=smoke train.epochs=0 finetune.epochs=0 finetune.top_k=1 episodes=3"
"""Laid over every search: a network that has learnt nothing, three episodes, no fine-tuning."""
EPISODES = 6
SHIM = """#!/bin/bash
# Stands before python on the path of a block, and makes its searches small.
case "$*" in
  *--cfg*) exec {python} "$@" ;;
  "-m amc.search"* | "-m amc.train"*) exec {python} "$@" {small} cache_dir={cache} ;;
  *) exec {python} "$@" ;;
esac
"""


class TitledBlockParser:
    """A block with a title is a file of that name."""

    _lexer = RawFencedCodeBlockLexer(re.compile(r'\w+ title="(?P<title>[^"]+)"$\n', re.MULTILINE))

    def __call__(self, document: Document) -> list[Region]:
        regions = list(self._lexer(document))
        for region in regions:
            region.parsed, region.evaluator = region.lexemes["source"], self._write
        return regions

    @staticmethod
    def _write(example: Example) -> None:
        path = Path(example.region.lexemes["title"])
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(example.parsed)


def run_commands(example: Example) -> None:
    """Run a block of commands; the first that fails ends it."""
    command = ["bash", "-euo", "pipefail", "-c", str(example.parsed)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, f"line {example.line}: {example.parsed}\n{done.stdout}\n{done.stderr}"


def parse(page: Path) -> Document:
    parsers = [PythonCodeBlockParser(), CodeBlockParser("bash", run_commands), TitledBlockParser(), SkipParser()]
    return Sybil(parsers, path=str(ROOT), pattern="*.md").parse(page)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def reader(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty folder to work in, where searches are small."""
    shim = tmp_path / "bin/python"
    shim.parent.mkdir()
    shim.write_text(SHIM.format(python=" ".join(preloaded_python()), small=SMALL, cache=cache))
    shim.chmod(0o755)
    folder = tmp_path / "folder"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setenv("PATH", str(shim.parent), prepend=os.pathsep)
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}{os.pathsep}{folder}")
    monkeypatch.setenv("MPLBACKEND", "agg")
    defaults: dict[str, Any] = amc.prune.__kwdefaults__ or {}
    monkeypatch.setitem(defaults, "episodes", EPISODES)


@pytest.mark.usefixtures("reader")
@pytest.mark.parametrize(
    "page",
    [*RUN_ALWAYS, *(pytest.param(page, marks=pytest.mark.slow) for page in RUN_SLOWLY)],
    ids=lambda page: str(page.relative_to(ROOT)),
)
def test_the_code_blocks_of_a_page_run(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    document = parse(page)
    document.namespace["no_fashion_mnist"] = not DEBIAN_FOLDER.is_dir()
    document.namespace["no_ray"] = find_spec("ray") is None
    document.namespace["no_postgresql"] = programs() is None
    document.namespace["no_slurm"] = not is_installed()
    text = page.read_text()
    shares = "${oc.env:STUDY}" in text and programs() is not None
    queues = "hydra/launcher=slurm" in text and is_installed()
    with postgresql_server() if shares else nullcontext("") as study, slurm_node() if queues else nullcontext():
        monkeypatch.setenv("STUDY", study)
        for example in document.examples():
            with suppress(SkipTest):
                example.evaluate()


def test_what_is_left_out_says_why() -> None:
    pages = [path.read_text() for path in RUN_ALWAYS + RUN_SLOWLY]
    reasons = [reason for page in pages for reason in re.findall(r'<!-- skip: next .*"(.*)"\)? -->', page)]
    assert Counter(reasons) == SKIPPED
    assert sum(page.count("skip:") for page in pages) == sum(SKIPPED.values())


@pytest.mark.parametrize("page", RUN_ALWAYS + RUN_SLOWLY, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_code_block_is_known_to_the_test(page: Path) -> None:
    fences = re.findall(r"^```(\w.*)$", page.read_text(), re.MULTILINE)
    run = [example for example in parse(page).examples() if example.region.lexemes.get("directive") is None]
    assert fences
    assert len(run) >= len(fences)
