"""The jobs of a sweep, one after the other or side by side: what became of each, and how they share the machine.

Jobs may also be handed to a cluster's queue, by submitit (``hydra/launcher=slurm``). SLURM signals a job before its
time is up, and when it needs the machine for another. submitit then has it queued again and ends the process; what it
had recorded is where it goes on.
"""

import json
import os
import secrets
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode

from amc.store.durable_files import read_file, write_file
from amc.watching.failures import note_outcome

LAUNCHER = "hydra/launcher="
ELSEWHERE = ("dask", "ray")
"""Backends of joblib whose processes the one that began the sweep has not started itself."""
ON_CLUSTERS = ("slurm", "submitit")


@dataclass(frozen=True)
class SweepLog:
    """What became of the jobs of one sweep, a file a job: they may run in processes of their own.

    Attributes:
        folder: of this sweep alone; made when there is something to note.
        process: the number of the process that began the sweep.
    """

    folder: Path
    process: int = field(default_factory=os.getpid)

    def note(self, failure: str | None) -> None:
        """Note that the running job is done, or what it failed of, also beside its run; outside a sweep nothing.

        Raises:
            StorageError: the folder cannot be written.
        """
        if in_sweep():
            hydra = HydraConfig.get()
            number: int = hydra.job.num
            self.folder.mkdir(mode=0o700, exist_ok=True)
            write_file(self.folder / f"{number:08}.json", json.dumps(failure))
            study, run = Path(hydra.sweep.dir).absolute(), Path(hydra.runtime.output_dir).absolute()
            log = log_of_job() if is_submitted() else str(run / f"{hydra.job.name}.log")
            if study in run.parents:
                note_outcome(study, run, failure, log if Path(log).exists() else "")

    def starter(self) -> int | None:
        """Return the process that has started this one, by its number, if it is known: it may be dead already."""
        if os.getpid() == self.process or HydraConfig.get().launcher.get("backend") in ELSEWHERE:
            return None
        return self.process

    def report(self, command: str) -> None:
        """List the failed jobs on stderr, a line each, if there are any."""
        outcomes: list[str | None] = [json.loads(read_file(path)) for path in sorted(self.folder.glob("*.json"))]
        failures = [failure for failure in outcomes if failure is not None]
        if failures:
            print(f"{command}: {len(failures)} of {len(outcomes)} jobs failed:", *failures, sep="\n  ", file=sys.stderr)


@contextmanager
def sweep_log(place: Path) -> Iterator[SweepLog]:
    """Keep what becomes of the jobs for as long as the block lasts.

    A search by itself makes no folder for it: killed, it would leave one behind each time.

    Args:
        place: folder in which that of the sweep is made.
    """
    folder = place / f".amc-sweep-{secrets.token_hex(8)}"
    try:
        yield SweepLog(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def in_sweep() -> bool:
    """Whether a job of a sweep runs here."""
    return HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN


def job_label() -> str:
    """Return what tells this job from the others of a sweep; nothing outside a sweep."""
    return f"[{HydraConfig.get().job.override_dirname}] " if in_sweep() else ""


def jobs_side_by_side() -> int:
    """Return how many jobs of the sweep may run on this machine at once, this one included.

    Hydra's launchers that start several call the number ``n_jobs``, negative as joblib counts: -1 for one a core,
    -2 for one less.
    """
    asked: int = HydraConfig.get().launcher.get("n_jobs", 1) if in_sweep() else 1
    return asked if asked > 0 else max(1, cores() + 1 + asked)


def fair_threads() -> int:
    """Return the threads a job may use so that all that run side by side have a core a thread."""
    return max(1, cores() // jobs_side_by_side())


def cores() -> int:
    """Return the number of cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def is_submitted() -> bool:
    """Whether this process is a job that submitit started."""
    return "SUBMITIT_FOLDER" in os.environ


def log_of_job() -> str:
    """Return where the queue keeps what this job writes to stderr."""
    import submitit

    return str(submitit.JobEnvironment().paths.stderr)


def leave_signals_to_parent() -> None:
    """Let the process that submitit started, and not this copy of it, have the job queued again."""
    for number in (signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)


def shared_place(arguments: Sequence[str]) -> Path:
    """Return a folder in which all jobs of a sweep can write: the temporary one of here is not elsewhere.

    Args:
        arguments: of the command line.
    """
    launchers = [argument.removeprefix(LAUNCHER) for argument in arguments if argument.startswith(LAUNCHER)]
    elsewhere = any(launcher.startswith(ON_CLUSTERS) for launcher in launchers)
    return Path.cwd() if elsewhere else Path(tempfile.gettempdir())
