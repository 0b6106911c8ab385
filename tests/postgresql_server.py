"""A PostgreSQL of one's own, for tests."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any


def programs() -> Path | None:
    """Return the folder of PostgreSQL's programs; none where it, or what connects to it, is not installed."""
    found = [*sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb")), shutil.which("initdb")]
    return None if found[0] is None or find_spec("psycopg") is None else Path(found[0]).parent


@contextmanager
def postgresql_server() -> Iterator[str]:
    """Yield the address of a server of a user without rights, reached by a socket in a folder that goes with it."""
    import pytest

    installed = programs()
    if installed is None:
        pytest.skip("PostgreSQL or psycopg is not installed")
    folder = Path(tempfile.mkdtemp())
    user: dict[str, Any] = {"user": "nobody", "group": "nogroup"} if os.getuid() == 0 else {}
    if user:
        shutil.chown(folder, **user)
    data = folder / "data"
    initdb = [installed / "initdb", "-D", data, "-U", "amc", "-A", "trust", "--no-sync"]
    subprocess.run(initdb, check=True, stdout=subprocess.DEVNULL, cwd=folder, **user)
    options = ["-D", data, "-k", folder, "-c", "listen_addresses=", "-c", "fsync=off"]
    command = [installed / "postgres", *options]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=folder, **user)
    try:
        for _ in range(300):
            if list(folder.glob(".s.PGSQL.*")):
                break
            time.sleep(0.2)
        yield f"postgresql+psycopg://amc@/postgres?host={folder}"
    finally:
        server.send_signal(signal.SIGINT)  # does not wait for those who are connected
        server.wait()
        shutil.rmtree(folder)
