"""Runs that are killed, starved and damaged at every operation on their files: does anything get lost or wrong?

    python -m benchmarks.reliability                # all protocols, a Markdown table
    python -m benchmarks.reliability --every 10     # every tenth operation only
    python -m benchmarks.reliability --broken       # the same on variants that are broken on purpose: all must fail

A run is a process of its own, made by ``fork`` from one that has imported everything. Its operations on files (open,
write, fsync, rename, unlink) are counted inside it, and at a chosen one it kills itself with SIGKILL, tears a write, or
gets an error from the operating system. Then the same command is given again, and what it leaves is compared with an
undisturbed run, file by file, but for times.
"""

import argparse
import contextlib
import json
import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra

from amc.config.composing import configured, register_schemas
from amc.config.conf_folder import CONF
from amc.config.schema import SearchConfig
from amc.errors import UserError
from amc.run.pipeline import run_search
from amc.weights.verification import verify_run
from benchmarks.sabotage import believe_everything, write_in_place
from benchmarks.storage_faults import FAULTS, Faults, counting
from envs.engine.torch_engine import TorchEngine
from envs.engine.types import Evaluation, Strategy

TINY = ["model.width=0.0625", "train.epochs=1", "episodes=4", "finetune.epochs=0.2", "finetune.top_k=1", "threads=1"]
SETTINGS = {
    "random": ["policy=random"],
    "amc": ["policy=amc"],
    "optuna": ["policy=optuna"],
    "sensitivity": ["policy=sensitivity"],
    "two stages": ["policy=random", "stages=2"],
}
TIMES = {"search_seconds", "latency_ms", "latencies", "sha256", "median_ms"}
BUG = 70


class Outcome(NamedTuple):
    """How many trials of a protocol there were, and what went wrong in those that failed."""

    protocol: str
    tried: int
    failures: Sequence[str]


class Place(NamedTuple):
    """A folder to run in: the run's own, the cache's, and a file that counts evaluations."""

    folder: Path

    @property
    def run(self) -> Path:
        """The run's folder."""
        return self.folder / "run"

    def evaluations(self) -> int:
        """How many networks were evaluated here, by all processes together."""
        path = self.folder / "evaluations"
        return path.stat().st_size if path.exists() else 0


def search(place: Place, overrides: Sequence[str]) -> None:
    """Run a small search, as the command line does."""
    register_schemas()
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        composed = compose("search", [*TINY, *overrides, f"cache_dir={place.folder / 'cache'}"])
    evaluate = TorchEngine.score_again

    def counted(engine: TorchEngine, strategy: Strategy) -> Evaluation:
        with (place.folder / "evaluations").open("ab") as file:
            file.write(b".")
        return evaluate(engine, strategy)

    engine_class: Any = TorchEngine
    engine_class.score_again = counted
    run_search(configured(composed, SearchConfig), overrides[0].partition("=")[2], place.run)


def in_child(task: Callable[[], None], log: Path) -> int:
    """Run a task in a copy of this process, and return its exit code, negative where a signal ended it."""
    child = os.fork()
    if child == 0:
        code = BUG
        with contextlib.suppress(BaseException):
            descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(descriptor, 1)
            os.dup2(descriptor, 2)
            try:
                task()
                code = 0
            except UserError as error:
                print(f"refused: {error}", flush=True)
                code = error.exit_code
            except BaseException as error:
                print(f"bug: {error!r}", flush=True)
        os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def faulty(place: Place, overrides: Sequence[str], faults: Faults, sabotage: Callable[[], None] | None) -> int:
    """Run a search that meets a fault, and return its exit code."""

    def task() -> None:
        if sabotage is not None:
            sabotage()
        with counting(faults):
            search(place, overrides)
        (place.folder / "operations").write_text(str(faults.seen))

    return in_child(task, place.folder / "log")


def found(run: Path) -> dict[str, Any]:
    """Return what a finished run left, but for times: trials and weights byte by byte, the result by its values."""
    result = but_for_times(json.loads((run / "result.json").read_text()))
    trials = {str(path.relative_to(run)): path.read_bytes() for path in run.rglob("trials.jsonl")}
    weights = {str(path.relative_to(run)): path.read_bytes() for path in run.rglob("*.safetensors")}
    return {"names": sorted(path.name for path in run.iterdir()), "result": result, **trials, **weights}


def but_for_times(value: Any) -> Any:  # noqa: ANN401  JSON
    """Return JSON without what depends on the clock."""
    if isinstance(value, dict):
        return {key: but_for_times(each) for key, each in value.items() if key not in TIMES}
    return [but_for_times(each) for each in value] if isinstance(value, list) else value


def fault_protocol(
    fault: str, overrides: Sequence[str], every: int, workshop: Path, sabotage: Callable[[], None] | None = None
) -> Iterator[str]:
    """Meet a fault at every operation of a run, one run each; yield what went wrong, empty where nothing did."""
    base = Place(workshop / "base")
    (base.folder / "cache").mkdir(parents=True)
    if faulty(base, overrides, Faults("none", 0), None) != 0:
        raise RuntimeError((base.folder / "log").read_text())
    expected, episodes = found(base.run), base.evaluations()
    for number in range(1, int((base.folder / "operations").read_text()) + 1, every):
        place = Place(workshop / f"{fault}{number}")
        place.folder.mkdir()
        shutil.copytree(base.folder / "cache" / "dense", place.folder / "cache" / "dense")
        code = faulty(place, overrides, Faults(fault, number), sabotage)
        yield _judge(place, overrides, expected, episodes, code, number, sabotage)
        shutil.rmtree(place.folder)


def _judge(
    place: Place,
    overrides: Sequence[str],
    expected: dict[str, Any],
    episodes: int,
    code: int,
    number: int,
    sabotage: Callable[[], None] | None,
) -> str:
    where = f"operation {number}"
    if code not in (0, -signal.SIGKILL, 5):
        return f"{where}: exit code {code}: {(place.folder / 'log').read_text()[-200:]}"
    code = faulty(place, overrides, Faults("none", 0), sabotage)
    if code != 0:
        return f"{where}: the same command ends with {code}: {(place.folder / 'log').read_text()[-200:]}"
    left = found(place.run)
    different = [key for key in {*expected, *left} if expected.get(key) != left.get(key)]
    if different:
        return f"{where}: other {', '.join(different)}"
    if damage := [file.name for file in verify_run(place.run) if file.damage]:
        return f"{where}: damaged {', '.join(damage)}"
    if place.evaluations() > episodes + 1:
        return f"{where}: {place.evaluations()} evaluations instead of {episodes}"
    return ""


def damage_protocol(count: int, workshop: Path, sabotage: Callable[[], None] | None = None) -> Iterator[str]:
    """Flip a bit of a file of a finished run; yield what went wrong: the damage was not named, or not made good."""
    base = Place(workshop / "base")
    (base.folder / "cache").mkdir(parents=True)
    if faulty(base, SETTINGS["random"], Faults("none", 0), None) != 0:
        raise RuntimeError((base.folder / "log").read_text())
    expected, rng = found(base.run), np.random.default_rng(0)
    names = sorted(path.name for path in base.run.iterdir() if path.is_file())
    for number in range(count):
        place, name = Place(workshop / f"damage{number}"), names[number % len(names)]
        shutil.copytree(base.folder, place.folder)
        content = bytearray((place.run / name).read_bytes())
        content[rng.integers(len(content))] ^= 1 << int(rng.integers(8))
        (place.run / name).write_bytes(content)
        named = in_child(partial(_find_damage, place.run, sabotage), place.folder / "log") == 0
        code = faulty(place, SETTINGS["random"], Faults("none", 0), sabotage)
        good = code == 0 and found(place.run) == expected
        yield "" if named and good else f"{name}: {'not made good' if named else 'not named'}"
        shutil.rmtree(place.folder)


def _find_damage(run: Path, sabotage: Callable[[], None] | None) -> None:
    if sabotage is not None:
        sabotage()
    if not any(file.damage for file in verify_run(run)):
        raise ValueError("no damage was found")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the protocols and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--every", type=int, default=1, help="take every so-manieth operation only")
    parser.add_argument("--damages", type=int, default=300)
    parser.add_argument("--broken", action="store_true", help="on variants that are broken on purpose")
    parser.add_argument("--faults", nargs="*", choices=FAULTS, default=list(FAULTS))
    parser.add_argument("--settings", nargs="*", choices=SETTINGS, default=list(SETTINGS))
    asked = parser.parse_args(arguments)
    torch.set_num_threads(1)
    print("| protocol | tried | failed |\n|---|---:|---:|")
    careless, credulous = (write_in_place, believe_everything) if asked.broken else (None, None)
    for name in asked.settings:
        for fault in asked.faults:
            with tempfile.TemporaryDirectory() as folder:
                said = fault_protocol(fault, SETTINGS[name], asked.every, Path(folder), careless)
                _print(f"{fault}, {name}", said)
    with tempfile.TemporaryDirectory() as folder:
        _print("flipped bit", damage_protocol(asked.damages, Path(folder), credulous))


def _print(protocol: str, said: Iterator[str]) -> None:
    answers = list(said)
    failures = [answer for answer in answers if answer]
    print(f"| {protocol} | {len(answers)} | {len(failures)} |", *failures[:3], sep="\n", flush=True)


if __name__ == "__main__":
    main()
