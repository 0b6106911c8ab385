"""A SLURM of one node, for tests."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path

CONFIGURATION = """
ClusterName=test
SlurmctldHost={host}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmdParameters=config_overrides
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerType=sched/builtin
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
KillWait=5
NodeName={host} CPUs=3 RealMemory=3000 State=UNKNOWN
PartitionName=all Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


def is_installed() -> bool:
    """Whether there is all that is needed, and this is who may start it."""
    programs = all(shutil.which(name) is not None for name in ("munged", "slurmctld", "slurmd", "sbatch"))
    return programs and os.getuid() == 0 and find_spec("submitit") is not None


def free_ports() -> tuple[int, int]:
    """Return two ports that nobody listens to."""
    with socket.socket() as one, socket.socket() as other:
        one.bind(("", 0))
        other.bind(("", 0))
        return one.getsockname()[1], other.getsockname()[1]


@contextmanager
def slurm_node() -> Iterator[None]:
    """Run SLURM on this machine for as long as the context lasts, for this process and those that it starts."""
    import pytest

    if not is_installed():
        pytest.skip("needs slurmctld, slurmd, munge and submitit, and root to start them")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name, pytest.MonkeyPatch.context() as patch:
        folder = Path(name)
        for part in ("munge", "state", "spool"):
            (folder / part).mkdir()
        (folder / "munge").chmod(0o700)
        (folder / "munge/key").write_bytes(os.urandom(1024))
        (folder / "munge/key").chmod(0o400)
        host = socket.gethostname().partition(".")[0]
        (folder / "slurm.conf").write_text(CONFIGURATION.format(host=host, folder=folder, ports=free_ports()))
        patch.setenv("SLURM_CONF", str(folder / "slurm.conf"))
        files = {"key": "key", "socket": "socket", "pid": "munged.pid", "log": "log", "seed": "seed"}
        options = [
            f"--{what if what == 'socket' else f'{what}-file'}={folder / 'munge' / file}"
            for what, file in files.items()
        ]
        try:
            subprocess.run(["munged", "--force", "--num-threads=1", *options], check=True)
            subprocess.run(["slurmctld", "-c"], check=True)
            subprocess.run(["slurmd", "-N", host], check=True)
            yield
        finally:
            subprocess.run(["scancel", "--user=root"], check=False)
            time.sleep(1)
            for path in (folder / "slurmd.pid", folder / "slurmctld.pid", folder / "munge/munged.pid"):
                with suppress(OSError, ValueError):
                    os.kill(int(path.read_text()), signal.SIGTERM)
