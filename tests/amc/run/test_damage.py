"""Runs that were cut behind their result, damaged, or asked for otherwise: nothing is lost, nothing wrong is kept."""

import json
import shutil
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra

from amc.config.composing import configured, register_schemas
from amc.config.conf_folder import CONF
from amc.config.schema import SearchConfig
from amc.errors import ConfigError, RefusedInput
from amc.run.pipeline import run_search
from amc.run.publish import unpublished
from amc.store.digests import CHECKSUMS, differing
from amc.store.results import read_asked, read_result, read_trials
from amc.verify import main as verify
from amc.weights.loading import load
from amc.weights.verification import verify_run

TINY = ["model.width=0.0625", "train.epochs=4", "episodes=4", "finetune.epochs=0.2", "finetune.top_k=1", "threads=1"]
TINY += ["device_profile=torch-eager", "latency.rounds=11"]
TIMES = {"search_seconds", "latency_ms", "latencies", "sha256"}


def search(folder: Path, *overrides: str) -> bool:
    register_schemas()
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = configured(compose("search", [*TINY, "policy=random", *overrides]), SearchConfig)
    return run_search(cfg, "random", folder)


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    folder = tmp_path_factory.mktemp("finished") / "run"
    assert search(folder, f"cache_dir={cache}")
    return folder


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    return shutil.copytree(finished, tmp_path / "run")


def but_for_times(value: object) -> object:
    if isinstance(value, dict):
        return {key: but_for_times(each) for key, each in value.items() if key not in TIMES}
    return [but_for_times(each) for each in value] if isinstance(value, list) else value


def found(folder: Path) -> object:
    return but_for_times(json.loads((folder / "result.json").read_text()))


def flip(path: Path, rng: np.random.Generator) -> None:
    content = bytearray(path.read_bytes())
    content[rng.integers(len(content))] ^= 1 << int(rng.integers(8))
    path.write_bytes(content)


FILES = [
    "asked.json",
    "pruned.safetensors",
    "report.html",
    "result.json",
    "reward.png",
    "timings.jsonl",
    "trials.jsonl",
]


def test_a_finished_run_is_whole(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert {file.name for file in verify_run(finished)} >= set(FILES)
    assert not any(file.damage or not file.vouched for file in verify_run(finished))
    verify([str(finished)])
    assert capsys.readouterr().out.splitlines()[-1] == "finished, and whole"


def test_deleted_checksums_are_named(
    run: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    (run / CHECKSUMS).unlink()
    verify([str(run)])
    assert f"no {CHECKSUMS}" in capsys.readouterr().out.splitlines()[-1]
    unpublished(run, [])
    assert f"{CHECKSUMS}: is missing" in caplog.text


@pytest.mark.parametrize("name", [*FILES, CHECKSUMS])
def test_every_flipped_bit_is_found_and_its_file_named(name: str, run: Path) -> None:
    rng, whole = np.random.default_rng(len(name)), (run / name).read_bytes()
    for _ in range(20):
        flip(run / name, rng)
        assert [file.name for file in verify_run(run) if file.damage]
        with pytest.raises(RefusedInput, match="not what was written") as error:
            verify([str(run)])
        assert name in str(error.value) or name == CHECKSUMS
        (run / name).write_bytes(whole)


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("asked.json", read_asked),
        ("pruned.safetensors", lambda folder: load(folder).state_dict()),
        ("result.json", read_result),
        ("trials.jsonl", lambda folder: [trial.reward for trial in read_trials(folder)]),
    ],
)
def test_no_damage_is_read_in_silence(name: str, read: Callable[[Path], object], run: Path) -> None:
    """Without the checksums of the whole folder: a digest stands in the content itself."""
    (run / CHECKSUMS).unlink()
    rng, whole, expected = np.random.default_rng(len(name)), (run / name).read_bytes(), str(read(run))
    refused = 0
    for _ in range(40):
        flip(run / name, rng)
        try:
            # What is read in spite of it, such as another space, is what was written.
            assert str(read(run)) == expected
        except RefusedInput:
            refused += 1
        (run / name).write_bytes(whole)
    assert refused >= 20


@pytest.mark.parametrize("name", ["result.json", "trials.jsonl"])
def test_a_changed_digit_is_refused(name: str, run: Path) -> None:
    content = (run / name).read_text()
    reward = content.index("reward" if name == "trials.jsonl" else "test_top1")
    place = next(place for place in range(reward + 12, len(content)) if content[place].isdigit())
    digit = "7" if content[place] != "7" else "3"
    (run / name).write_text(content[:place] + digit + content[place + 1 :])
    with pytest.raises(RefusedInput, match="not what was written"):
        read_trials(run) if name == "trials.jsonl" else read_result(run)


DAMAGES = ("flipped", "missing", "empty")
OFTEN = {"flipped-result.json", "empty-trials.jsonl", "missing-pruned.safetensors", "flipped-asked.json"}
OFTEN |= {"missing-reward.png", "flipped-timings.jsonl", f"missing-{CHECKSUMS}"}
"""Every kind of file; each with every damage is tried slowly."""


def cases() -> Iterator[Any]:
    for damage, name in product(DAMAGES, [*FILES, CHECKSUMS]):
        case = f"{damage}-{name}"
        yield pytest.param(damage, name, id=case, marks=() if case in OFTEN else pytest.mark.slow)


@pytest.mark.parametrize(("damage", "name"), list(cases()))
def test_the_same_command_makes_damage_good(name: str, damage: str, run: Path, finished: Path, cache: Path) -> None:
    if damage == "flipped":
        flip(run / name, np.random.default_rng(7))
    elif damage == "missing":
        (run / name).unlink()
    else:
        (run / name).write_bytes(b"")
    assert search(run, f"cache_dir={cache}")
    assert differing(run) == {}
    assert not any(file.damage for file in verify_run(run))
    assert (run / "trials.jsonl").read_bytes() == (finished / "trials.jsonl").read_bytes()
    assert found(run) == found(finished)
    assert {path.name for path in run.iterdir()} == {path.name for path in finished.iterdir()}


STAGED = ("stages=2", "episodes=2")


@pytest.fixture(scope="session")
def staged(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    folder = tmp_path_factory.mktemp("staged") / "run"
    assert search(folder, *STAGED, f"cache_dir={cache}")
    return folder


@pytest.mark.parametrize(
    "damage",
    [
        {"asked.json": b"", "timings.jsonl": b"\xff\n"},
        pytest.param({"trials.jsonl": None}, marks=pytest.mark.slow),
    ],
    ids=["what was asked, and the times", "trials that are not all there"],
)
def test_the_same_command_makes_damage_in_earlier_stages_good(
    damage: dict[str, bytes | None], staged: Path, tmp_path: Path, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = shutil.copytree(staged, tmp_path / "run")
    for name, content in damage.items():
        first = (run / "stage1" / name).read_bytes().splitlines(keepends=True)[0]
        (run / "stage1" / name).write_bytes(first if content is None else content)
    assert {file.name for file in verify_run(run) if file.damage} == {f"stage1/{name}" for name in damage}
    assert search(run, *STAGED, f"cache_dir={cache}")
    assert not any(file.damage for file in verify_run(run))
    assert found(run) == found(staged)
    assert all(name in caplog.text for name in damage)


def test_a_run_cut_behind_its_result_is_completed(run: Path, cache: Path) -> None:
    """As a full disk leaves it: nothing behind the result is there, but half of a file."""
    for path in [run / CHECKSUMS, run / "report.html", *run.glob("*.png")]:
        path.unlink()
    (run / ".report.html.123.part").write_text("half")
    before = (run / "result.json").read_bytes()
    assert search(run, f"cache_dir={cache}")
    assert (run / "report.html").exists()
    assert (run / "reward.png").exists()
    assert (run / "result.json").read_bytes() == before
    assert not list(run.glob(".*.part"))
    assert differing(run) == {}


def test_a_format_may_be_asked_for_later(run: Path, cache: Path) -> None:
    before = (run / "result.json").read_bytes()
    assert search(run, f"cache_dir={cache}", "export=[pt2]")
    assert (run / "pruned.pt2").stat().st_size > 0
    assert (run / "result.json").read_bytes() == before
    assert differing(run) == {}


def test_fine_tuning_may_be_asked_for_otherwise(run: Path, finished: Path, cache: Path) -> None:
    assert search(run, f"cache_dir={cache}", "finetune.epochs=0.4", "finetune.top_k=2")
    assert (run / "trials.jsonl").read_bytes() == (finished / "trials.jsonl").read_bytes()
    result = read_result(run)
    assert (result.settings["finetune.epochs"], result.settings["finetune.top_k"]) == (0.4, 2)
    assert (read_asked(run) or {})["finetune.epochs"] == 0.4
    assert differing(run) == {}
    with pytest.raises(ConfigError, match=r"episodes=4"):
        search(run, f"cache_dir={cache}", "episodes=5")


def test_a_damaged_network_in_the_cache_is_trained_again(finished: Path, cache: Path, tmp_path: Path) -> None:
    trained, cache = cache, tmp_path / "cache"
    shutil.copytree(trained, cache)
    (network,) = (cache / "dense").glob("*.safetensors")
    whole = network.read_bytes()
    flip(network, np.random.default_rng(0))
    assert search(tmp_path / "again", f"cache_dir={cache}")
    assert found(tmp_path / "again") == found(finished)
    assert network.read_bytes() == whole
