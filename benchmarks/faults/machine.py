"""Commands in processes of their own, at the price of a ``fork``: everything is imported and warm beforehand."""

import base64
import contextlib
import copy
import gc
import logging
import math
import mmap
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, NamedTuple

import torch
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.hydra import Hydra
from hydra.types import RunMode
from matplotlib.figure import Figure
from omegaconf import DictConfig, open_dict
from torch import nn

import amc.cli.command
from amc.cli.command import run_command
from amc.measurement.turns import take_turns
from amc.report import plots
from amc.runtimes import timed_runs
from amc.search import main
from envs.engine import plugins
from envs.engine.torch_engine import TorchEngine
from envs.engine.types import Evaluation
from envs.search import RecordTrials, Trial

TINY = (
    *("model._target_=benchmarks.faults.tiny.net", "model.name=tiny"),
    *("data._target_=benchmarks.faults.tiny.data", "data.name=tiny", "data.calibration=32", "data.search=32"),
    *("train.epochs=1", "train.batch_size=32", "episodes=5", "finetune.epochs=0.5", "finetune.top_k=1"),
    *("round_to=1", "threads=1", "cache_dir=cache", "device_profile=torch-eager"),
)
"""Asks for a search of a fraction of a second; ``cache_dir`` is beside ``outputs``: its files are at stake, too."""
PICTURE = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="
)
BUG = 70
warming = False
deadline = math.inf
"""When to begin nothing new, by the monotonic clock."""
peak_bytes = 0
"""Memory that the latest process took at most, what it shared with this one included."""
evaluations = 0
"""Networks that were evaluated in the episodes of this process."""
so_far = mmap.mmap(-1, 8)
"""The same of the latest process, in memory that all share: it is known of one that was killed, too."""


class Ended(NamedTuple):
    """How a command ended.

    Attributes:
        code: exit code, negative where a signal ended it.
        errors: what it said on stderr.
        evaluations: networks that its episodes evaluated; -1 where it could not say.
    """

    code: int
    errors: str
    evaluations: int


def prepare() -> None:
    """Import and warm up what a search needs; count evaluations, and do not draw: pictures are not at stake here."""
    torch.set_num_threads(1)
    evaluate = TorchEngine.score_network
    in_episode = False

    def counted(engine: TorchEngine, pruned: nn.Module) -> Evaluation:
        global evaluations
        # Those of a policy's episodes. Uniform ratios, evaluated for comparison and not recorded, are none.
        evaluations += in_episode
        so_far[:] = evaluations.to_bytes(8, "little")
        return evaluate(engine, pruned)

    def in_an_episode(method: Callable[..., Any]) -> Callable[..., Any]:
        def played(env: Any, *arguments: Any) -> Any:  # noqa: ANN401  handed on
            nonlocal in_episode
            in_episode = bool(env._sinks)
            try:
                return method(env, *arguments)
            finally:
                in_episode = False

        return played

    def ahead(env: Any, *arguments: Any) -> Iterator[Trial]:  # noqa: ANN401  handed on
        # A generator evaluates, and records, while it is asked for its next one.
        trials = score_ahead(env, *arguments)
        following = in_an_episode(lambda _: next(trials, None))
        while (trial := following(env)) is not None:
            yield trial

    engine_class: Any = TorchEngine
    engine_class.score_network = counted
    env_class: Any = RecordTrials
    score_ahead = env_class._score_ahead
    env_class._score_ahead = ahead
    env_class.play_strategies = in_an_episode(RecordTrials.play_strategies)
    env_class.step = in_an_episode(RecordTrials.step)
    env_class.score_strategy = in_an_episode(RecordTrials.score_strategy)
    figure_class: Any = Figure
    figure_class.savefig = lambda _figure, file, **_: file.write(PICTURE)
    drawn = ("reward_figure", "resource_figure", "channels_figure", "network_figure")
    vars(plots).update(dict.fromkeys(drawn, lambda *_: Figure()))
    # Nor are times, and which packages are installed does not change meanwhile.
    vars(timed_runs).update(TRIES=1, take_turns=lambda calls, _, *rest: take_turns(calls, 3, *rest))
    vars(plugins).update(entry_points=cache(entry_points))
    # Hydra composes a configuration to know whether this is a sweep, and then composes it again.
    hydra_class: Any = Hydra
    hydra_class.get_mode = lambda *_, **__: RunMode.MULTIRUN if "-m" in sys.argv else RunMode.RUN
    loader: Any = ConfigLoaderImpl
    loader.load_configuration = _remembering(loader.load_configuration)
    warm_up(["policy=uniform"])
    vars(amc.cli.command).update(register_schemas=lambda: None)


def warm_up(arguments: Sequence[str]) -> None:
    """Run a command line in this process, so that copies have imported what it needs, and have its configuration.

    Raises:
        RuntimeError: it fails.
    """
    global warming
    warming = True
    with tempfile.TemporaryDirectory() as folder:
        ended = run(Path(folder), arguments, here=True)
    warming = False
    if ended.code != 0:
        raise RuntimeError(f"an undisturbed run fails: {ended.errors}")
    # A collection in a copy would touch, and so copy, all that is here.
    gc.collect()
    gc.freeze()


def _remembering(compose: Callable[..., DictConfig]) -> Callable[..., DictConfig]:
    """Let copies of this process compose no configuration that was composed here: a third of a run's time."""
    known: dict[object, DictConfig] = {}

    def composed(loader: Any, config_name: str, overrides: list[str], run_mode: RunMode, **rest: Any) -> DictConfig:  # noqa: ANN401
        asked = (config_name, *overrides, run_mode)
        if warming or asked not in known:
            made = compose(loader, config_name, overrides, run_mode, **rest)
            if warming:
                known[asked] = copy.deepcopy(made)
            return made
        # Whoever asks writes to it.
        made = copy.deepcopy(known[asked])
        with open_dict(made):
            made.hydra.runtime.cwd = str(Path.cwd())
        return made

    return composed


def run(
    place: Path, arguments: Sequence[str], before: Callable[[], None] | None = None, *, here: bool = False
) -> Ended:
    """Give a command line of ``python -m amc.search`` in a folder, and wait for its end.

    Args:
        place: the working directory; runs are in ``outputs`` below it.
        arguments: of the command line, beside those of ``TINY``.
        before: called in the process before the command.
        here: in this process, to warm it up.
    """
    with tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as count:

        def task() -> int:
            global evaluations
            evaluations = 0
            so_far[:] = bytes(8)
            os.chdir(place)
            if before is not None:
                before()
            code = command([*TINY, *arguments])
            os.pwrite(count.fileno(), b"%d" % evaluations, 0)
            return code

        if here:
            came_from = Path.cwd()
            with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stdout(nowhere):
                code = task()
            os.chdir(came_from)
        else:
            code = in_child(task, said.fileno())
        errors = os.pread(said.fileno(), 1 << 20, 0).decode(errors="replace")
        return Ended(code, errors, int(os.pread(count.fileno(), 20, 0) or b"-1"))


def command(arguments: Sequence[str]) -> int:
    """Give a command line of ``python -m amc.search`` in this process, and return its exit code."""
    sys.argv = ["amc.search", *arguments]
    try:
        run_command("search", main)
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else 1
    return 0


def in_child(task: Callable[[], int], errors: int) -> int:
    """Run a task in a copy of this process, what it says on stderr going to ``errors``; return how it ended."""
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        code = BUG
        try:
            redirect(errors)
            code = task()
        except BaseException:
            os.write(2, traceback.format_exc().encode())
        os._exit(code)
    global peak_bytes
    _, status, used = os.wait4(child, 0)
    peak_bytes = used.ru_maxrss << 10
    return os.waitstatus_to_exitcode(status)


def redirect(errors: int) -> None:
    """Let this process say nothing on stdout, and on stderr what goes to ``errors``."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(errors, 2)
    logging.raiseExceptions = False  # a log file on a full disk


class OutOfTime(Exception):
    """What there is to do is to be gone on with another time."""


def check_time() -> None:
    """End what is kept on disk where it stands, if its time is up.

    Raises:
        OutOfTime: it is.
    """
    if time.monotonic() > deadline:
        raise OutOfTime


def error_lines(ended: Ended) -> list[str]:
    """Return what a command said of an error: one line where all is well."""
    return [line for line in ended.errors.splitlines() if line.strip()]
