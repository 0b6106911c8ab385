import json
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from amc.tracking.tracker import TrackedRun

FAKES = '''
import json
import os
import time
from dataclasses import dataclass


@dataclass
class Recorder:
    """Writes down what it is told."""

    def start(self, run):
        (run.folder / "pid").write_text(str(os.getpid()))
        self.file = (run.folder / "told.jsonl").open("a")
        self.write("start", run.study, run.policy, run.name, list(run.tags))

    def __call__(self, trial, figures):
        self.write("trial", trial, figures)

    def finish(self, ending):
        pictures = ending and [str(picture) for picture in ending.pictures]
        self.write("finish", ending and [ending.summary, ending.strategy, str(ending.model), pictures])

    def write(self, *told):
        self.file.write(json.dumps(told) + "\\n")
        self.file.flush()


@dataclass
class Broken(Recorder):
    """Goes wrong in one of its methods."""

    where: str
    how: str

    def write(self, what, *told):
        print("chatter")
        super().write(what, *told)
        if what == self.where:
            if self.how == "raise":
                raise OSError("no space left,\\non this device")
            if self.how == "exit":
                os._exit(7)
            time.sleep(1000)
'''


@pytest.fixture
def tracked_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TrackedRun:
    """A run in a folder of its own, with the trackers of ``FAKES`` within reach and no account anywhere."""
    modules, home, folder = tmp_path / "modules", tmp_path / "home", tmp_path / "run"
    for made in (modules, home, folder / ".hydra"):
        made.mkdir(parents=True)
    (modules / "fake_trackers.py").write_text(FAKES)
    (folder / ".hydra/config.yaml").write_text("seed: 3\npolicy: {seed: '${seed}'}\n")
    monkeypatch.syspath_prepend(modules)
    monkeypatch.setenv("HOME", str(home))
    for name in [name for name in os.environ if name.startswith(("WANDB_", "NETRC"))]:
        monkeypatch.delenv(name)
    return TrackedRun(folder, "study", "random", "net-data-random-seed3", ("net", "target=0.5", "t" * 100))


BUCKET = {"id": "b", "name": "run", "displayName": "run", "config": "{}"}
PROJECT = {"id": "p", "name": "amc-search", "entity": {"id": "e", "name": "somebody"}}


class LoopbackServer:
    """What W&B may find at its address.

    ``refuse``: nobody listens. ``hang``: connections are taken and never answered. ``die``: the first call, which opens
    a run, is answered; in the middle of the second the server is gone.
    """

    def __init__(self, kind: str) -> None:
        self.calls = 0
        self._answers = 1 if kind == "die" else 0
        self._hangs = kind == "hang"
        self._connections: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        if kind == "refuse":
            self._listener.close()
        else:
            self._thread.start()

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        if self._thread.is_alive():
            self._thread.join()
        for opened in (*self._connections, self._listener):
            opened.close()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self.calls += 1
                self._connections.append(connection)
                if self._hangs:
                    continue
                if self.calls > self._answers:
                    break
                self._answer(connection)
        if not self._hangs:
            for opened in (*self._connections, self._listener):
                opened.close()

    def _answer(self, connection: socket.socket) -> None:
        with connection.makefile("rb") as request:
            length = 0
            while (line := request.readline().strip().lower()) != b"":
                if line.startswith(b"content-length:"):
                    length = int(line.partition(b":")[2])
            request.read(length)
        answer = json.dumps({"data": {"upsertBucket": {"bucket": BUCKET | {"project": PROJECT}, "inserted": True}}})
        connection.sendall(f"HTTP/1.1 200 OK\r\nContent-Length: {len(answer)}\r\n\r\n{answer}".encode())
        connection.close()


@pytest.fixture(params=["refuse", "hang", "die"])
def bad_server(request: pytest.FixtureRequest) -> Iterator[str]:
    """The address of a server that does not serve."""
    server = LoopbackServer(request.param)
    yield server.url
    server.close()
