"""Requests made up at random: each runs, or is refused in a line that names a key of it, before any training."""

import json
import os
import resource
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from amc.config.schema import EXPORTS
from amc.training.sgd import Fitting
from benchmarks.faults import machine
from benchmarks.faults.killed import Row, Sabotage
from envs.engine.choices import SCORINGS

SECONDS = 10
NUMBERS = [
    "0",
    "-1",
    "1",
    "2",
    "7",
    "1e-3",
    "0.5",
    "1.5",
    "nan",
    "inf",
    "-inf",
    "1e20",
    "1e400",
    "-0.0",
    "1000000",
    "2.0",
]
WORDS = [
    "null",
    "true",
    "false",
    "abc",
    "''",
    "[]",
    "[1,2]",
    "{a:1}",
    "'\\x1b[31m'",
    "../../x",
    "'a b'",
    "'%s'",
    "'{}'",
]
BROKEN = ["${nothing}", "${oc.env:NO_SUCH_VARIABLE}", "${seed}", "${no_resolver:1}", "???"]
POLICIES = ["amc", "optuna", "pareto", "random", "reconstruction", "sac", "sensitivity", "td3", "uniform"]
TOP = {
    "name": ["../../x", "/etc", "a/b", "'a\\nb'", "''", "x" * 300, "."],
    "seed": [],
    "dense_seed": [],
    "episodes": [],
    "target": [],
    "min_keep": [],
    "round_to": [],
    "granularity": ["kernel", "element", "n_m", "vector", "channels"],
    "criterion": ["l2", "apoz", "taylor", "regression", "obd", "bn_scale"],
    "resource": ["params", "memory", "latency", "flop"],
    "reward": ["accuracy_flops", "accuracy_params", "loss", "divergence"],
    "constraint": ["bound", "rescale"],
    "repair": ["independent", "compensating", "finalists"],
    "scoring": [*SCORINGS, "race"],
    "stages": ["1", "2", "17"],
    "reconstruct": [],
    "adaptive_bn": [],
    "m": [],
    "overwrite": [],
    "device": ["meta", "cpu", "cuda:99", "cpu:1", "mps", "xla"],
    "threads": [],
    "cache_dir": ["/proc/nothing", "/dev/null/x"],
    "export": ["[pt3]", "[onnx]", *(f"[{each}]" for each in EXPORTS)],
    "tracker": ["none", "mlflow", "0", "true"],
    "data": ["0", "true", "nothing", "digits"],
    "model": ["0", "null", "nothing", "mobilenet", "vgg16"],
    "policy": ["0", "nothing", "null", *POLICIES],
    "model.name": ["../../x", "a/b", "'a\\nb'"],
    "model.width": [],
    "model.checkpoint": ["/dev/zero", "/nothing", "/etc/passwd", "."],
    "model.pretrained": [],
    "model._target_": ["os.nothing", "benchmarks.faults.tiny.net", "os.getcwd", "os._exit", "benchmarks"],
    "model.args": ["{a:1}", "[1]"],
    "data.calibration": [],
    "data.search": [],
    "data.image_size": [],
    "data.folder": ["/nothing", "/dev"],
    "data._target_": ["os.nothing", "os.getcwd", "benchmarks.faults.tiny.data"],
    "data.finetune_epochs": [],
    "train.epochs": ["0"],
    "train.lr": [],
    "train.batch_size": [],
    "train.weight_decay": [],
    "train.shift": [],
    "train.flip": [],
    "train.bf16": [],
    "train.warm_up": [],
    "train.momentum": [],
    "finetune.epochs": [],
    "finetune.top_k": [],
    "finetune.lr_factor": [],
    "finetune.distill": [],
    "finetune.temperature": [],
    "nonsense": [],
    "+nonsense": [],
    "~policy": [""],
    "finetune.nonsense": [],
}
OF_POLICIES = {
    "amc": "start warm_up sigma sigma_end gamma tau actor_lr critic_lr batch_size replay_size hidden baseline_decay "
    "normalize imitation elites seed nonsense",
    "sac": "warm_up gamma tau lr entropy target_entropy batch_size replay_size hidden baseline_decay normalize seed",
    "td3": "warm_up sigma sigma_end gamma tau lr batch_size replay_size hidden policy_delay target_noise target_clip "
    "baseline_decay normalize seed",
    "optuna": "sampler seed start tell_executed",
    "sensitivity": "probing watch refine",
    "reconstruction": "seed local_search step",
    "random": "seed _target_",
    "global_threshold": "normalize",
}


class Request(tuple[str, ...]):
    """Arguments of a command line, made up."""

    @property
    def keys(self) -> list[str]:
        """The keys that it sets."""
        return [argument.lstrip("+~").partition("=")[0] for argument in self]


def make_request(number: int) -> Request:
    """Return a made-up request: for the first numbers a key each, then one to three keys at random."""
    rng = np.random.default_rng(number)
    keys = [*TOP, *(f"policy.{name}" for names in OF_POLICIES.values() for name in names.split())]
    asked = [keys[number]] if number < len(keys) else list(rng.choice(keys, rng.integers(1, 4), replace=False))
    arguments: dict[str, str] = {}
    for key in asked:
        own = TOP.get(key)
        values = [*(WORDS if rng.random() < 0.4 else NUMBERS), *BROKEN[: int(rng.integers(0, 6))]]
        arguments[key] = str(rng.choice(own if own and rng.random() < 0.6 else values))
        owners = [each for each, names in OF_POLICIES.items() if key in _of(names)]
        if owners and "policy" not in asked:
            arguments.setdefault("policy", str(rng.choice(owners)))
    return Request(key if key.startswith("~") else f"{key}={value}" for key, value in arguments.items())


def _of(names: str) -> list[str]:
    return [f"policy.{name}" for name in names.split()]


def judge(request: Sequence[str], place: Path, sabotage: Sabotage | None = None) -> str:
    """Give a request, and say in a line what was wrong with the answer; empty where nothing was."""
    place.mkdir()
    mark = place / "trained"

    def begin() -> None:
        if sabotage is not None:
            sabotage()
        advance = Fitting.advance

        def marked(fitting: Fitting, *arguments: object) -> None:
            mark.touch()
            advance(fitting, *arguments)  # type: ignore[arg-type]

        fitting_class: type = Fitting
        fitting_class.advance = marked  # type: ignore[attr-defined]
        resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS + 1))

    before = os.times()
    ended = machine.run(place, request, begin)
    used = os.times()
    seconds = used.children_user + used.children_system - before.children_user - before.children_system
    lines = machine.error_lines(ended)
    if ended.code == 0 or (ended.code < 0 and mark.exists()):
        return ""  # it runs, be it longer than anybody waits
    if ended.code < 0:
        return f"no answer in {seconds:.0f} s"
    if mark.exists() and ended.code == 2:
        return f"refused behind a training: {lines}"
    if len(lines) != 1:
        return f"{len(lines)} lines: {json.dumps(lines[-3:])}"
    if "a bug?" in lines[0] or ended.code not in (2, 3, 4, 5):
        return f"exit code {ended.code}: {lines[0]}"
    if not mark.exists() and not any(key.rpartition(".")[2] in lines[0] for key in Request(request).keys):
        return f"names no key: {lines[0]}"
    return "" if lines[0].isprintable() else f"not printable: {lines[0]!r}"


def random_requests(numbers: range, workshop: Path, sabotage: Sabotage | None = None) -> Iterator[Row]:
    """Give made-up requests."""
    failures = []
    for number in numbers:
        request = make_request(number)
        if wrong := judge(request, workshop / str(number), sabotage):
            failures.append(f"{' '.join(request)}: {wrong}")
    yield Row(
        "made-up requests",
        f"{len(TOP)} keys, those of {len(OF_POLICIES)} policies",
        len(numbers),
        len(numbers),
        failures,
    )
