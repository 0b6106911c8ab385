"""What is said of the project in more than one place, and the pages of the Python reference."""

import tomllib
from pathlib import Path

import yaml

import amc

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_the_first_screen_is_short_enough_to_be_read() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 80


def test_the_version_is_said_alike() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == PROJECT["version"] == amc.__version__
    assert citation["repository-code"] == PROJECT["urls"]["Source"]


def test_ci_runs_every_python_that_is_declared() -> None:
    jobs = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())["jobs"]
    prefix = "Programming Language :: Python :: "
    declared = [line.removeprefix(prefix) for line in PROJECT["classifiers"] if line.startswith(prefix)]
    assert jobs["checks"]["strategy"]["matrix"]["python"] == declared
