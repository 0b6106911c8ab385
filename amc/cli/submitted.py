"""Jobs of a sweep that submitit hands to a cluster's queue, as on SLURM: ``hydra/launcher=slurm``.

SLURM signals a job before its time is up, and when it needs the machine for another. submitit then has it queued again
and ends the process; what it had recorded is where it goes on.
"""

import os
import signal
import tempfile
from collections.abc import Sequence
from pathlib import Path

LAUNCHER = "hydra/launcher="
ON_CLUSTERS = ("slurm", "submitit")


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
