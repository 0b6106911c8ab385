"""The same seed gives the same trials wherever it runs; and a run that goes on elsewhere says so, or is refused."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from amc.config.policies import policy_names
from amc.run import pipeline
from benchmarks.faults import machine, tiny
from benchmarks.faults.judging import runs_below
from benchmarks.faults.killed import Row, Sabotage

HASH_SEEDS = ("0", "1", "random")


def same_seed(policies: int, workshop: Path, sabotage: Sabotage | None = None) -> Iterator[Row]:
    """Play the same seed in other processes, folders and circumstances, and go on under others."""
    names = policy_names()[:policies]
    expected = {name: _trials(workshop / name, [f"policy={name}"], sabotage) for name in names}
    for what, arguments in (
        ("another process", []),
        ("another folder", ["name=elsewhere/deep"]),
        ("tracker=tensorboard", ["tracker=tensorboard"]),
        ("other fine-tuning behind it", ["finetune.epochs=1", "finetune.top_k=2"]),
    ):
        failures = []
        for name in names:
            found = _trials(workshop / f"{what} {name}", [f"policy={name}", *arguments], sabotage)
            failures += [f"{name}: other trials"] if found != expected[name] else []
        yield Row(f"same seed: {what}", f"{len(names)} policies", len(names), len(names), failures)
    yield _resumed(names, expected, workshop, sabotage)
    if sabotage is None:
        yield _fresh_interpreters(names, expected, workshop)
        yield _elsewhere(workshop)


def _trials(place: Path, arguments: Sequence[str], sabotage: Sabotage | None) -> bytes:
    place.mkdir(exist_ok=True)
    ended = machine.run(place, arguments, sabotage)
    runs = runs_below(place)
    return (runs[0] / "trials.jsonl").read_bytes() if ended.code == 0 and runs else ended.errors.encode()


def _resumed(names: Sequence[str], expected: dict[str, bytes], workshop: Path, sabotage: Sabotage | None) -> Row:
    failures, tried = [], 0
    for name in names:
        whole = expected[name].splitlines(keepends=True)
        for left in range(1, len(whole)):
            (run,) = runs_below(workshop / name)
            for path in run.iterdir():
                if path.name not in ("asked.json", "trials.jsonl", "timings.jsonl", ".hydra"):
                    path.unlink()
            (run / "trials.jsonl").write_bytes(b"".join(whole[:left]))
            tried += 1
            if _trials(workshop / name, [f"policy={name}"], sabotage) != expected[name]:
                failures.append(f"{name}: other trials behind trial {left}")
    return Row("same seed: resumed behind every trial", f"{len(names)} policies", tried, tried, failures)


def _fresh_interpreters(names: Sequence[str], expected: dict[str, bytes], workshop: Path) -> Row:
    failures = []
    for seed in HASH_SEEDS:
        place = workshop / f"hash seed {seed}"
        place.mkdir()
        command = [sys.executable, "-m", "amc.search", "-m", *machine.TINY, f"policy={','.join(names)}"]
        root = str(Path(__file__).parents[2])
        environment = os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": root, "OMP_NUM_THREADS": "1"}
        subprocess.run(command, cwd=place, env=environment, capture_output=True, check=False)  # noqa: S603
        for name in names:
            path = place / f"outputs/default/tiny-tiny/{name}/seed0/trials.jsonl"
            same = path.exists() and path.read_bytes() == expected[name]
            failures += [] if same else [f"{name}, PYTHONHASHSEED={seed}: other trials"]
    tried = len(HASH_SEEDS) * len(names)
    return Row("same seed: new interpreters, three PYTHONHASHSEED", f"{len(names)} policies", tried, tried, failures)


def _elsewhere(workshop: Path) -> Row:
    """Go on with a run under other conditions."""
    failures = []
    for what, change, arguments, code in (
        ("torch", _other_torch, [], 0),
        ("processor", _other_processor, [], 0),
        ("threads", None, ["threads=2"], 0),
        ("device", _other_device, [], 0),
        ("data", _other_data, [], 2),
    ):
        place = workshop / f"elsewhere {what}"
        place.mkdir()
        machine.run(place, ["policy=random"])
        (run,) = runs_below(place)
        for path in run.iterdir():
            if path.name not in ("asked.json", "trials.jsonl", "timings.jsonl", "conditions.json", ".hydra"):
                path.unlink()
        lines = (run / "trials.jsonl").read_bytes().splitlines(keepends=True)
        (run / "trials.jsonl").write_bytes(b"".join(lines[:2]))
        ended = machine.run(place, ["policy=random", *arguments], change)
        if ended.code != code or (code and what not in ended.errors):
            failures.append(f"{what}: exit code {ended.code}: {ended.errors[-200:]}")
        elif not code:
            conditions = json.loads((run / "result.json").read_text())["conditions"]
            if len(conditions) != 2 or conditions[0][what] == conditions[1][what] or conditions[1]["since"] != 2:
                failures.append(f"{what}: not marked: {conditions}")
        shutil.rmtree(place)
    return Row(
        "going on elsewhere: marked in the result, or refused",
        "torch, processor, threads, device; data",
        5,
        5,
        failures,
    )


def _other_torch() -> None:
    vars(torch)["__version__"] = "2.99.0"


def _other_processor() -> None:
    cpu: Any = torch.backends.cpu
    cpu.get_cpu_capability = lambda: "AVX3"


def _other_device() -> None:
    here: Callable[..., Any] = vars(pipeline)["conditions"]
    vars(pipeline).update(conditions=lambda *asked: replace(here(*asked), device="cuda (of another machine)"))


def _other_data() -> None:
    splits = tiny.data()

    def changed() -> object:
        (images, labels), test = splits
        return (images ^ 1, labels), test

    vars(tiny).update(data=changed)
