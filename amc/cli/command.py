"""A command line: Hydra composes the configuration, and errors end in one line and an exit code."""

import logging
import os
import shlex
import signal
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import hydra
import rich
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from amc.cli.arguments import HELP, QUIET, check_arguments, options_last, with_own_flags
from amc.cli.help import help_text
from amc.cli.lasting_output import keep_on_without
from amc.cli.leftovers import leaving_nothing_behind
from amc.cli.log_lines import hush_libraries, widen_for_files
from amc.cli.own_process import hard_exits_raised, run_in_own_process
from amc.cli.sweep import (
    SweepLog,
    fair_threads,
    in_sweep,
    is_submitted,
    job_label,
    jobs_side_by_side,
    leave_signals_to_parent,
    log_of_job,
    shared_place,
    sweep_log,
)
from amc.cli.user_errors import FULL_ERROR, as_user_error
from amc.config.composing import SCHEMAS, configured, register_schemas
from amc.config.conf_folder import CONF
from amc.config.overrides import with_own_choices
from amc.config.schema import TrainConfig
from amc.config.validation import validate
from amc.environment import hidden
from amc.errors import INTERRUPTED, ConfigError, UserError
from amc.names import printable_line

log = logging.getLogger(__name__)

RESTARTS = 3


class JobFailed(Exception):
    """A job of a sweep failed, and its error is already reported; the other jobs go on."""

    def __init__(self, exit_code: int) -> None:
        super().__init__(exit_code)
        self.exit_code = exit_code


def run_command(name: str, task: Callable[[Any], None]) -> None:
    """Run ``task`` on the configuration that ``conf/<name>.yaml`` and the command line make.

    Args:
        name: of the configuration, and of the command in error messages.
        task: called with the checked configuration, once for each job of a sweep.

    Raises:
        SystemExit: the command failed, with the exit code of ``amc.errors``.
    """
    keep_on_without("stderr")
    register_schemas()
    widen_for_files()
    hush_libraries()
    full_error = os.environ.get(FULL_ERROR) == "1"

    with reporting(name, full_error), sweep_log(shared_place(sys.argv[1:])) as sweep:

        @hydra.main(version_base="1.3", config_path=str(CONF), config_name=name)
        def job(composed: DictConfig) -> None:
            def attempt() -> None:
                with (
                    reporting(name, full_error, sweep),
                    hard_exits_raised(),
                    leaving_nothing_behind(output_folder()),
                ):
                    cfg = configured(composed, SCHEMAS[name])
                    validate(cfg)
                    task(share_machine(cfg) if jobs_side_by_side() > 1 else cfg)

            if jobs_side_by_side() > 1 or is_submitted():
                _run_beside_others(attempt, name, sweep)
            else:
                attempt()

        _end_orderly()
        if any(argument in HELP for argument in sys.argv[1:]):
            print(help_text(name, sys.argv[1:]), end="")
            return
        quiet = any(argument in QUIET for argument in sys.argv[1:])
        sys.argv[1:] = options_last(with_own_flags(sys.argv[1:]))
        check_arguments(sys.argv[1:])
        sys.argv[1:] = options_last(with_own_choices(sys.argv[1:]))
        if quiet:
            rich.reconfigure(quiet=True)
        try:
            with _hydra_lets_errors_pass():
                _until_unbroken(job)
        finally:
            sweep.report(f"amc.{name}")


def _run_beside_others(attempt: Callable[[], None], name: str, sweep: SweepLog) -> None:
    """Run a job that is one of several at a time: what kills it ends no other.

    Raises:
        JobFailed: it failed, and said so, or was killed, and that is said here.
    """
    parent = None
    if not is_submitted():
        # Out of the terminal's reach: the process that began the sweep hears Ctrl-C, and ends the others.
        os.setpgrp()
        parent = sweep.starter()
    code = run_in_own_process(partial(_exiting, attempt), parent)
    if code < 0:
        line = f"{job_label()}its process was ended by {signal.Signals(-code).name}: out of memory, or by hand"
        if is_submitted():
            line += f"; its log: {log_of_job()}"
        sweep.note(printable_line(line))
        print(f"amc.{name}: {printable_line(line)}", file=sys.stderr)
    if code == INTERRUPTED:
        raise KeyboardInterrupt
    if code != 0:
        raise JobFailed(code if code > 0 else UserError.exit_code)


def _exiting(attempt: Callable[[], None]) -> None:
    if is_submitted():
        leave_signals_to_parent()
    try:
        attempt()
    except JobFailed as error:
        raise SystemExit(error.exit_code) from error


def _until_unbroken(job: Callable[[], None]) -> None:
    """Run all jobs; begin again where a launcher lost one of its own processes: what was finished is not run again."""
    for _ in range(RESTARTS):
        try:
            job()
            return
        except BrokenExecutor:
            log.warning("a process of the sweep was killed: going on with what is not finished")
    job()


def _end_orderly() -> None:
    """Let the signals that end a process do so as Ctrl-C does, so that no job of a sweep is left behind."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, signal.default_int_handler)


def share_machine(cfg: TrainConfig) -> TrainConfig:
    """Let this job, in a process of its own, run beside others of its sweep; return its configuration."""
    # Bars of several processes would overwrite each other.
    rich.reconfigure(force_terminal=False)
    return cfg if cfg.threads is not None else replace(cfg, threads=fair_threads())


def output_folder() -> Path:
    """Return the folder of the running job."""
    return Path(HydraConfig.get().runtime.output_dir)


def chosen(group: str) -> str:
    """Return the name of the choice made in a configuration group."""
    return str(HydraConfig.get().runtime.choices[group])


def command_of(name: str) -> str:
    """Return the command that does the running job, and no other of its sweep."""
    # As they were written: what they refer to may be a password.
    given = OmegaConf.to_container(HydraConfig.get().overrides.task, resolve=False)
    assert isinstance(given, list)  # noqa: S101  what Hydra has there
    given = [str(argument).removeprefix("++") for argument in given]
    runtime = HydraConfig.get().runtime
    own = [source.path for source in runtime.config_sources if source.provider == "command-line"]
    folder = ["--config-dir", os.path.relpath(own[0], runtime.cwd)] if own else []
    return shlex.join(["python", "-m", f"amc.{name}", *folder, *given])


def end_sweep() -> None:
    """Start no further job of a sweep, since the user asked for an end; nothing to do for a single run.

    Raises:
        KeyboardInterrupt: this is a job of a sweep. Hydra lets it pass.
    """
    if in_sweep():
        raise KeyboardInterrupt


@contextmanager
def reporting(name: str, full_error: bool, sweep: SweepLog | None = None) -> Iterator[None]:
    """Turn an error into one line on stderr and an exit code, and note for the sweep how its job ended."""
    try:
        yield
    except JobFailed as error:
        raise SystemExit(error.exit_code) from error
    except SystemExit as error:
        if sweep is None:
            raise
        # Nothing of this package ends a process in the middle of a job.
        line = printable_line(f"{job_label()}the model, the data or the policy called exit({error.code}); let it raise")
        sweep.note(line)
        print(f"amc.{name}: {line}", file=sys.stderr)
        raise (JobFailed if in_sweep() else SystemExit)(ConfigError.exit_code) from error
    except KeyboardInterrupt:
        print(f"amc.{name}: interrupted", file=sys.stderr)
        raise SystemExit(INTERRUPTED) from None
    except Exception as error:
        known = as_user_error(error)
        line = printable_line(hidden(f"{job_label()}{known}", sys.argv))
        if sweep is not None:
            sweep.note(line)
        if full_error:
            raise
        print(f"amc.{name}: {line}", file=sys.stderr)
        raise (JobFailed if in_sweep() else SystemExit)(known.exit_code) from error
    else:
        if sweep is not None:
            sweep.note(None)


@contextmanager
def _hydra_lets_errors_pass() -> Iterator[None]:
    """Keep Hydra from printing errors itself, in many lines and with its own exit code."""
    before = os.environ.get(FULL_ERROR)
    os.environ[FULL_ERROR] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[FULL_ERROR]
        else:
            os.environ[FULL_ERROR] = before
