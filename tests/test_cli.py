"""The command lines as a user runs them: real processes, real data, tiny settings."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from preloaded_python import preloaded_python
from torch.utils.flop_counter import FlopCounterMode

import amc
from amc.weights.loading import read_header
from amc.zoo.data.dataset import Source
from amc.zoo.data.registry import DATASETS

ROOT = Path(__file__).parents[1]
SMOKE = ["experiment=smoke", "policy=random"]
FOLDER = "outputs/default/mobilenet-digits/random/seed0"
OWN_NETWORKS = """
from torch import nn

def no_layers(num_classes, in_channels, width=1.0):
    return nn.Sequential(nn.Flatten(), nn.Linear(64 * in_channels, num_classes))
"""


def command(args: list[str], cache: Path) -> list[str]:
    return [sys.executable, "-m", *args, f"cache_dir={cache}"]


def environment(folder: Path, **more: str) -> dict[str, str]:
    return os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{folder}", "COLUMNS": "200"} | more


def run(args: list[str], folder: Path, cache: Path, **more: str) -> subprocess.CompletedProcess[str]:
    args = [*preloaded_python(), *command(args, cache)[1:]]
    return subprocess.run(
        args, cwd=folder, env=environment(folder, **more), capture_output=True, text=True, timeout=300
    )


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trained networks, shared so that each is trained once."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    """The run folder of a search."""
    folder = tmp_path_factory.mktemp("finished")
    process = run(["amc.search", *SMOKE], folder, cache)
    assert process.returncode == 0, process.stdout + process.stderr
    assert "not trained yet" in process.stdout
    assert "top-1 on test" in process.stdout
    return folder / FOLDER


def test_a_search_leaves_its_files(finished: Path) -> None:
    names = {path.name for path in finished.iterdir()}
    assert names == {
        ".hydra",
        "SHA256SUMS",
        "asked.json",
        "channels.png",
        "conditions.json",
        "made.json",
        "network.png",
        "pruned.safetensors",
        "report.html",
        "resource.png",
        "result.json",
        "reward.png",
        "search.log",
        "timings.jsonl",
        "trials.jsonl",
    }


def test_the_result_meets_the_target_and_names_what_was_asked(finished: Path) -> None:
    result = json.loads((finished / "result.json").read_text())
    assert result["pruned"]["flops"] <= 0.5 * result["dense"]["flops"]
    assert result["uniform"]["flops"] <= 0.5 * result["dense"]["flops"]
    asked = {"model": "mobilenet", "data": "digits", "policy": "random", "resource": "flops", "target": 0.5, "seed": 0}
    assert {key: result[key] for key in asked} == asked
    assert result["trials"] == 5 == len((finished / "trials.jsonl").read_text().splitlines())
    assert result["strategy"]
    assert all(row["kept"] / row["of"] == pytest.approx(row["keep"]) for row in result["strategy"])


def test_a_loaded_network_has_the_accuracy_and_flops_of_the_result(finished: Path) -> None:
    model = amc.load(finished)
    pruned = json.loads((finished / "result.json").read_text())["pruned"]
    test = DATASETS["digits"](Source(None, Path())).test
    images = read_header(finished).normalization(test.images)
    with torch.no_grad():
        assert (model(images).argmax(1) == test.labels).double().mean() == pytest.approx(pruned["test_top1"])
    counter = FlopCounterMode(display=False)
    with counter:
        model(images[:1])
    assert counter.get_total_flops() / 2 == pruned["flops"]
    assert sum(parameter.numel() for parameter in model.parameters()) == pruned["params"]


def test_a_sweep_has_a_folder_a_seed_and_repeats_single_runs(finished: Path, tmp_path: Path, cache: Path) -> None:
    process = run(["amc.search", "-m", "seed=0,1", "name=study", *SMOKE], tmp_path, cache)
    assert process.returncode == 0, process.stderr
    first, second = (tmp_path / f"outputs/study/mobilenet-digits/random/seed{seed}" for seed in (0, 1))
    assert (first / "trials.jsonl").read_bytes() == (finished / "trials.jsonl").read_bytes()
    assert (second / "trials.jsonl").read_bytes() != (finished / "trials.jsonl").read_bytes()
    assert json.loads((second / "result.json").read_text())["seed"] == 1


@pytest.mark.slow
@pytest.mark.parametrize("granularity", ["kernel", "vector", "element", "n_m"])
def test_every_granularity_ends_with_a_report(granularity: str, tmp_path: Path, cache: Path) -> None:
    process = run(["amc.search", *SMOKE, f"granularity={granularity}", "criterion=obd"], tmp_path, cache)
    assert process.returncode == 0, process.stderr
    assert "dense kernels do not skip zeros" in process.stdout
    folder = tmp_path / FOLDER
    result = json.loads((folder / "result.json").read_text())
    assert (result["granularity"], result["criterion"]) == (granularity, "obd")
    assert result["pruned"]["flops"] <= 0.5 * result["dense"]["flops"]
    assert result["pruned"]["memory_bytes"] < result["dense"]["memory_bytes"]
    model = amc.load(folder)
    zeros = sum(int((weight == 0).sum()) for weight in model.parameters() if weight.ndim > 1)
    assert sum(parameter.numel() for parameter in model.parameters()) - zeros == result["pruned"]["params"]
    assert (
        f"share of\n{'weights' if granularity in ('element', 'n_m') else granularity + 's'}"
        in (folder / "report.html").read_text()
    )


@pytest.mark.parametrize("granularity", ["channel", pytest.param("element", marks=pytest.mark.slow)])
def test_memory_can_be_the_target_and_another_run_is_overwritten_when_asked(
    granularity: str, finished: Path, tmp_path: Path, cache: Path
) -> None:
    shutil.copytree(finished, tmp_path / FOLDER)
    args = [*SMOKE, "resource=memory", f"granularity={granularity}", "overwrite=true"]
    process = run(["amc.search", *args], tmp_path, cache)
    assert process.returncode == 0, process.stderr
    result = json.loads((tmp_path / FOLDER / "result.json").read_text())
    assert (result["resource"], result["granularity"]) == ("memory", granularity)
    for network in ("uniform", "pruned"):
        assert 0.4 < result[network]["memory_bytes"] / result["dense"]["memory_bytes"] <= 0.5
    assert "at most 50% of its memory" in (tmp_path / FOLDER / "report.html").read_text()


def test_train_trains_once(tmp_path: Path) -> None:
    args = ["amc.train", "model=resnet20", "train.epochs=1", "model.width=0.25"]
    assert "not trained yet" in run(args, tmp_path, tmp_path / "cache").stdout
    again = run(args, tmp_path, tmp_path / "cache")
    assert again.returncode == 0
    assert "trained before" in again.stdout


@pytest.mark.parametrize(
    ("args", "exit_code", "said"),
    [
        (["episode=3"], 2, "unknown key episode; did you mean episodes?"),
        (["model=mobilnet"], 2, "model=mobilnet: must be one of"),
        (["data=fashion_mnist", "data.folder=nowhere"], 2, "data.folder=nowhere"),
        (["data.search=1300"], 2, "data.search=1300"),
        (["target=1.5"], 2, "target=1.5"),
        (["experiment=smoke", "target=0.2", "min_keep=0.9"], 3, "min_keep"),
        (["experiment=smoke", "model._target_=own_networks.no_layers"], 3, "nothing to prune"),
    ],
)
def test_an_error_is_one_line_and_an_exit_code(
    args: list[str], exit_code: int, said: str, tmp_path: Path, cache: Path
) -> None:
    """One of each kind: what else is refused is in ``tests/amc/config/test_refusals.py``."""
    (tmp_path / "own_networks.py").write_text(OWN_NETWORKS)
    process = run(["amc.search", *args], tmp_path, cache)
    assert process.returncode == exit_code, process.stderr
    assert len(process.stderr.splitlines()) == 1
    assert process.stderr.startswith("amc.search: ")
    assert said in process.stderr


def test_a_damaged_cache_is_named_and_trained_anew(tmp_path: Path) -> None:
    args = ["amc.train", "model=plain20", "train.epochs=0"]
    assert run(args, tmp_path, tmp_path).returncode == 0
    (cached,) = (tmp_path / "dense").iterdir()
    whole = cached.read_bytes()
    cached.write_bytes(whole[:-100])
    process = run(args, tmp_path, tmp_path)
    assert process.returncode == 0, process.stderr
    assert "not trained yet" in process.stdout
    assert cached.read_bytes() == whole


def test_an_unwritable_folder_is_a_storage_error(tmp_path: Path, cache: Path) -> None:
    (tmp_path / "outputs").touch()
    process = run(["amc.search", *SMOKE], tmp_path, cache)
    assert process.returncode == 5
    assert len(process.stderr.splitlines()) == 1


def test_full_errors_are_had_by_asking(tmp_path: Path, cache: Path) -> None:
    process = run(["amc.search", "target=0"], tmp_path, cache, HYDRA_FULL_ERROR="1")
    assert process.returncode != 0
    assert "Traceback" in process.stderr


@contextmanager
def searching(tmp_path: Path, cache: Path, *options: str, episodes: int = 1_000_000) -> Iterator[subprocess.Popen[str]]:
    """A search in the middle of its episodes."""
    args = ["amc.search", *options, *SMOKE, f"episodes={episodes}"]
    with subprocess.Popen(
        command(args, cache), cwd=tmp_path, env=environment(tmp_path), stderr=subprocess.PIPE, text=True
    ) as process:
        trials = tmp_path / FOLDER / "trials.jsonl"
        for _ in range(1200):
            if process.poll() is not None or (trials.exists() and trials.stat().st_size > 0):
                break
            time.sleep(0.1)
        yield process
        process.kill()


@pytest.fixture
def endless(tmp_path: Path, cache: Path) -> Iterator[subprocess.Popen[str]]:
    with searching(tmp_path, cache) as process:
        yield process


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_a_signal_ends_the_search_and_keeps_what_was_found_and_it_goes_on_later(
    number: signal.Signals, tmp_path: Path, cache: Path
) -> None:
    episodes = 60
    with searching(tmp_path, cache, episodes=episodes) as process:
        process.send_signal(number)
        _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert "stopping after this episode" in errors
    stopped = json.loads((tmp_path / FOLDER / "result.json").read_text())
    assert stopped["stopped"] is True
    assert 0 < stopped["trials"] == len((tmp_path / FOLDER / "trials.jsonl").read_text().splitlines()) < episodes
    if number == signal.SIGTERM:  # the signal makes no difference to what is left
        return
    again = run(["amc.search", *SMOKE, f"episodes={episodes}"], tmp_path, cache)
    assert again.returncode == 0, again.stderr
    result = json.loads((tmp_path / FOLDER / "result.json").read_text())
    assert (result["trials"], result["stopped"]) == (episodes, False)


def test_a_signal_ends_a_sweep_and_keeps_what_was_found(tmp_path: Path, cache: Path) -> None:
    with searching(tmp_path, cache, "-m", "seed=0,1") as process:
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=120)
    assert process.returncode == 130, errors
    assert (tmp_path / FOLDER / "result.json").exists()
    assert not (tmp_path / FOLDER).with_name("seed1").exists()


def test_a_second_signal_stops_at_once(endless: subprocess.Popen[str], tmp_path: Path) -> None:
    endless.send_signal(signal.SIGINT)
    assert endless.stderr is not None
    while "once more" not in endless.stderr.readline():
        assert endless.poll() is None
    endless.send_signal(signal.SIGINT)
    _, errors = endless.communicate(timeout=60)
    assert endless.returncode == 130
    assert "amc.search: interrupted" in errors
    assert not (tmp_path / FOLDER / "result.json").exists()


def last_mention(process: subprocess.CompletedProcess[str], words: str) -> bool:
    return words in " ".join(process.stdout.split())


@pytest.mark.parametrize(
    "more",
    [
        ["policy=amc"],
        pytest.param(["policy=random", "scoring=racing"], marks=pytest.mark.slow),
        pytest.param(["policy=random", "scoring=coreset", "scoring.error=0.02"], marks=pytest.mark.slow),
    ],
)
def test_a_killed_search_goes_on_as_if_nothing_had_happened(more: list[str], tmp_path: Path, cache: Path) -> None:
    episodes = 20
    args = ["amc.search", "experiment=smoke", f"episodes={episodes}", *more]
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    whole.mkdir()
    cut.mkdir()
    assert run(args, whole, cache).returncode == 0
    (folder,) = (path.parent.relative_to(whole) for path in whole.rglob("trials.jsonl"))
    assert folder.parent.name == more[0].removeprefix("policy=")
    with subprocess.Popen(command(args, cache), cwd=cut, env=environment(cut), stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            trials = cut / folder / "trials.jsonl"
            if trials.exists() and trials.read_bytes().count(b"\n") >= 5:
                process.kill()
    assert 5 <= trials.read_bytes().count(b"\n") < episodes
    with trials.open("a") as file:
        file.write('{"index": 12, "rew')  # what a kill leaves of a line
    again = run(args, cut, cache)
    assert again.returncode == 0, again.stderr
    assert last_mention(again, "going on behind")
    assert trials.read_bytes() == (whole / folder / "trials.jsonl").read_bytes()
    expected, found = (json.loads((place / folder / "result.json").read_text()) for place in (whole, cut))
    for key in ("trials", "strategy", "finetuned", "settings"):
        assert found[key] == expected[key]
    assert found["pruned"]["test_top1"] == expected["pruned"]["test_top1"]


def test_a_finished_run_is_shown_and_not_run_again(finished: Path, cache: Path) -> None:
    before = (finished / "trials.jsonl").stat().st_mtime_ns, (finished / "result.json").read_bytes()
    again = run(["amc.search", *SMOKE], finished.parents[4], cache)
    assert again.returncode == 0
    assert last_mention(again, "finished before")
    assert "top-1 on test" in again.stdout
    assert ((finished / "trials.jsonl").stat().st_mtime_ns, (finished / "result.json").read_bytes()) == before


def test_another_run_in_the_folder_is_not_lost(finished: Path, cache: Path) -> None:
    before = (finished / "result.json").read_bytes()
    other = run(["amc.search", *SMOKE, "target=0.6"], finished.parents[4], cache)
    assert other.returncode == 2
    assert "target=0.5" in other.stderr
    assert "overwrite=true" in other.stderr
    assert (finished / "result.json").read_bytes() == before


@pytest.mark.parametrize(
    ("key", "value"),
    [("name", "../../x"), ("name", "/x"), ("model.name", "../../x"), ("data.name", "a/b"), ("name", "'a\x1b[2Jb'")],
)
def test_no_name_leaves_the_outputs(key: str, value: str, tmp_path: Path, cache: Path) -> None:
    process = run(["amc.search", *SMOKE, f"{key}={value}"], tmp_path, cache)
    assert process.returncode == 2, process.stdout + process.stderr
    assert process.stderr.startswith(f"amc.search: {key}=")
    assert len(process.stderr.splitlines()) == 1
    assert process.stderr.rstrip("\n").isprintable()
    assert not list(tmp_path.iterdir())


def test_an_interpolation_error_names_its_key(tmp_path: Path, cache: Path) -> None:
    process = run(["amc.search", *SMOKE, "min_keep=${nowhere}"], tmp_path, cache)
    assert process.returncode == 2
    assert "min_keep" in process.stderr
    assert "nowhere" in process.stderr
    assert len(process.stderr.splitlines()) == 1
