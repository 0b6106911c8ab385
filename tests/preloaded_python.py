"""A Python that has everything heavy imported already, for tests that run command lines by the dozen.

Each process is a fork of one that has imported torch and the rest, and is otherwise what ``python -m`` starts: own
arguments, environment, working directory, files and exit code. What a signal does to a process, and what it imports, is
tested on real ones.
"""

import atexit
import gc
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import NoReturn

PRELOADED = (
    "amc.agent.policy",
    "amc.api.pruning",
    "amc.cli.command",
    "amc.comparison.publish",
    "amc.run.pipeline",
    "baselines.random_search",
    "matplotlib.backends.backend_agg",
    "optuna",
    "sklearn.datasets",
    "torch._dynamo",  # counting FLOPs loads it
)
ARGUMENT_BYTES = 1 << 20


@cache
def preloaded_python() -> list[str]:
    """Return what stands for ``python`` in a command: ``[*preloaded_python(), "-m", "amc.search", ...]``."""
    folder = tempfile.mkdtemp(prefix="preloaded-")
    address = f"{folder}/socket"
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1]), "MPLBACKEND": "agg"}
    server = subprocess.Popen([sys.executable, __file__, "serve", address], stdout=subprocess.PIPE, env=environment)
    atexit.register(server.kill)
    assert server.stdout is not None
    assert server.stdout.readline() == b"ready\n"
    return [sys.executable, "-IS", __file__, "ask", address]


def ask(address: str, arguments: list[str]) -> int:
    """Have a fork of the server do what ``python <arguments>`` does, and return its exit code."""
    request = {"arguments": arguments, "environment": dict(os.environ), "folder": os.getcwd()}  # noqa: PTH109
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.connect(address)
        socket.send_fds(connection, [json.dumps(request).encode()], [0, 1, 2])
        connection.shutdown(socket.SHUT_WR)
        return int(connection.makefile().read())


def serve(address: str) -> None:
    """Import what takes time, then answer requests, each in a process of its own."""
    for name in PRELOADED:
        import_module(name)
    _warm_hydra()
    gc.freeze()  # else a fork's collector copies all of it
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        listening.bind(address)
        listening.listen()
        print("ready", flush=True)
        while True:
            connection, _ = listening.accept()
            if os.fork() == 0:
                listening.close()
                break
            connection.close()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    answer(connection)


def _warm_hydra() -> None:
    """Look for plugins and build the parser of overrides once: both stay as they are in every fork."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.core.plugins import Plugins

    Plugins.instance()
    OverridesParser.create().parse_overrides(["experiment=smoke", "+limits.latency=0.5", "export=[pt2]"])


def answer(connection: socket.socket) -> None:
    """Start the process that was asked for, wait for it, and tell its exit code."""
    content, files, _, _ = socket.recv_fds(connection, ARGUMENT_BYTES, 3)
    while more := connection.recv(ARGUMENT_BYTES):
        content += more
    request = json.loads(content)
    worker = os.fork()
    if worker == 0:
        connection.close()
        for number, file in enumerate(files):
            os.dup2(file, number)
            os.close(file)
        run(request["arguments"], request["environment"], request["folder"])
    code = os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1])
    connection.sendall(str(code).encode())
    connection.close()


def run(arguments: list[str], environment: dict[str, str], folder: str) -> NoReturn:
    """Be ``python <arguments>`` in this environment and folder: ``-m module ...`` or ``script.py ...``."""
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    # A module is looked for in the working directory, a script's imports beside it; then where PYTHONPATH says.
    first = folder if arguments[0] == "-m" else str(Path(arguments[0]).parent)
    sys.path[0:2] = [first, *filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))]
    try:
        if arguments[0] == "-m":
            sys.argv = arguments[1:]
            runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
        else:
            sys.argv = arguments
            runpy.run_path(arguments[0], run_name="__main__")
        code = 0
    except SystemExit as error:
        code = _exit_code(error)
    except BaseException:
        traceback.print_exc()
        code = 1
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # taking the interpreter down would take longer than most tests


def _exit_code(error: SystemExit) -> int:
    """Return what Python makes of ``sys.exit``'s argument."""
    if error.code is None or isinstance(error.code, int):
        return error.code or 0
    print(error.code, file=sys.stderr)
    return 1


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(sys.argv[2])
    else:
        sys.exit(ask(sys.argv[2], sys.argv[3:]))
