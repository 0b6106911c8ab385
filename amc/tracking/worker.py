"""The process of a tracker: ``python -m amc.tracking.worker``, told what to do by lines of JSON on standard input.

The first line holds the tracker's settings and the run, then comes a line a trial, and a line with the ending. Where
the input ends without it, the search failed or was killed, and the run is closed as such: what a ``kill -9`` of the
search leaves untold is at most the last trial.

An error ends the process, with the error as the last line of its output. Some seconds after the input ended the
process is ended too, whatever blocks it.
"""

import faulthandler
import io
import json
import os
import signal
import sys
import threading
import traceback
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from amc.tracking.make import make_tracker
from amc.tracking.tracker import Ending, TrackedRun

LINGER_SECONDS = 30.0
Message = dict[str, Any]


def main() -> None:
    """Serve until the input ends."""
    # The search decides when it is over, also where a signal goes to every process of a job.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    messages: SimpleQueue[Message | None] = SimpleQueue()
    threading.Thread(target=_read, args=(_take_stdin(), messages), daemon=True).start()
    try:
        serve(messages)
    except Exception as error:
        traceback.print_exc()
        print(f"{type(error).__name__}: {' '.join(str(error).split())}", file=sys.stderr, flush=True)
        # W&B's exit hook would wait for the server that has just failed.
        os._exit(1)


def serve(messages: "SimpleQueue[Message | None]") -> None:
    """Build the tracker and tell it what the messages say, up to the ending or ``None``."""
    first = messages.get()
    if first is None:
        return
    tracker = make_tracker(first["tracker"])
    run = TrackedRun(**first["run"])
    tracker.start(replace(run, folder=Path(run.folder), tags=tuple(run.tags)))
    while (message := messages.get()) is not None:
        if "ending" in message:
            tracker.finish(_ending(message["ending"]))
            return
        tracker(message["trial"], message["figures"])
    tracker.finish(None)


def _ending(told: Message) -> Ending:
    strategy = [(str(layer), keep, kept, of) for layer, keep, kept, of in told["strategy"]]
    return Ending(told["summary"], strategy, Path(told["model"]), [Path(picture) for picture in told["pictures"]])


def _take_stdin() -> io.TextIOWrapper:
    """Keep the input for this process: a child of it that held the pipe would outlive it, and nobody would notice."""
    stream = os.fdopen(os.dup(sys.stdin.fileno()), encoding="utf-8")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, sys.stdin.fileno())
    os.close(nothing)
    return stream


def _read(stream: io.TextIOWrapper, messages: "SimpleQueue[Message | None]") -> None:
    for line in stream:
        messages.put(json.loads(line))
    messages.put(None)
    # From a thread of C: it works while Python blocks. Not closed, since it is written to at the very end.
    faulthandler.dump_traceback_later(LINGER_SECONDS, exit=True, file=Path(os.devnull).open("w"))  # noqa: SIM115


if __name__ == "__main__":
    main()
