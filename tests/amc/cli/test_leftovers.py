import logging
from pathlib import Path

import pytest

from amc.cli.arguments import options_last, with_own_flags
from amc.cli.leftovers import remove_untouched
from amc.errors import ConfigError


def made(folder: Path, *more: str) -> Path:
    (folder / ".hydra").mkdir(parents=True)
    for name in (".hydra/config.yaml", ".lock", "search.log", *more):
        (folder / name).write_text("x")
    return folder


def test_a_refused_run_leaves_nothing(tmp_path: Path) -> None:
    folder = made(tmp_path / "outputs/default/net-data/amc/seed0")
    handler = logging.FileHandler(folder / "search.log")
    logging.getLogger().addHandler(handler)
    remove_untouched(folder)
    assert handler not in logging.getLogger().handlers
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_has_written_stays_and_so_do_its_neighbours(tmp_path: Path) -> None:
    folder = made(tmp_path / "outputs/study/net-data/amc/seed0", "trials.jsonl")
    remove_untouched(folder)
    assert (folder / "trials.jsonl").exists()
    refused = made(tmp_path / "outputs/study/net-data/amc/seed1")
    remove_untouched(refused)
    assert not refused.exists()
    assert folder.exists()


def test_flags_are_translated_for_hydra() -> None:
    assert with_own_flags(["-q", "seed=1"]) == ["seed=1", "hydra.job_logging.root.level=WARNING"]
    assert with_own_flags(["--verbose"]) == ["hydra.verbose=[amc,envs,baselines]"]
    with pytest.raises(ConfigError, match="-q and -v: give one of them"):
        with_own_flags(["-q", "-v"])


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ("seed=0,1 -m model=vgg16", "seed=0,1 model=vgg16 -m"),
        ("-m seed=0,1", "seed=0,1 -m"),
        ("--cfg job model=vgg16", "model=vgg16 --cfg job"),
        ("--info model=vgg16", "model=vgg16 --info"),
        ("--info config model=vgg16 --resolve", "model=vgg16 --info config --resolve"),
        ("~policy +x=1 --foo", "~policy +x=1 --foo"),
    ],
)
def test_options_come_behind_what_is_asked(given: str, read: str) -> None:
    assert options_last(given.split()) == read.split()
