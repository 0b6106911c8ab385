"""The process of a worker: ``python -m envs.workers.serve PIPE PARCEL THREADS DRIVER``, all of them numbers.

It says that it is ready, and then for every strategy that it is handed what evaluating it came to: a pair of evaluation
and error, one of them none.
"""

import pickle
import signal
import sys
from multiprocessing.connection import Connection
from typing import Any

from envs.engine.types import Evaluation, PruningEngine, Strategy
from envs.workers.lifetime import end_with_parent
from envs.workers.parcel import open_parcel, unpack


def main() -> None:
    """Serve until the driver is gone."""
    pipe, parcel, threads, driver = map(int, sys.argv[1:])
    end_with_parent(driver)
    # The driver decides when it is over, also where a signal goes to every process of a job.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    engine = unpack(open_parcel(parcel))
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(threads)
    serve(engine, Connection(pipe))


def serve(engine: PruningEngine, pipe: "Connection[Any, Any]") -> None:
    """Evaluate what comes, until nothing more can come."""
    pipe.send((None, None))
    while True:
        try:
            strategy = pipe.recv()
        except EOFError:
            return
        pipe.send(outcome(engine, strategy))


def outcome(engine: PruningEngine, strategy: Strategy) -> tuple[Evaluation | None, Exception | None]:
    """Evaluate a strategy, and return what came out, or what was raised, in a form that can be sent."""
    try:
        return engine.evaluate(strategy), None
    except Exception as error:
        return None, sendable(error)


def sendable(error: Exception) -> Exception:
    """Return an error as it is if another process can read it, else one that says the same."""
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301  pickled here
    except Exception:  # whatever pickling someone's class raises
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


if __name__ == "__main__":
    main()
