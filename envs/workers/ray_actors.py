"""Workers that are actors of Ray: on this machine, or on all machines of a cluster."""

import logging
import os
import sys
from contextlib import suppress
from typing import Any

import numpy as np
import ray
from numpy.typing import NDArray
from ray.exceptions import RayError

from envs.engine.types import Evaluation, PruningEngine, Strategy
from envs.workers.crew import Answer
from envs.workers.parcel import Parcel, pack, unpack
from envs.workers.serve import outcome

Outcome = tuple[Evaluation | None, Exception | None]
Packed = tuple[bytes, list[NDArray[np.uint8]]]
ADDRESS = "RAY_ADDRESS"
HERE = "local"
"""The address of a Ray that is begun for this search alone, and ends with it."""


class Evaluator:
    """What an actor is: an engine that evaluates.

    Args:
        packed: the parcel that holds it.
        threads: of torch.
    """

    def __init__(self, packed: Packed, threads: int) -> None:
        rest, tensors = packed
        # What lies in the object store may not be written to.
        self._engine: PruningEngine = unpack(Parcel(rest, [bytearray(content.data) for content in tensors]))
        if "torch" in sys.modules:
            sys.modules["torch"].set_num_threads(threads)

    def ready(self) -> Outcome:
        """Say so."""
        return None, None

    def evaluate(self, strategy: Strategy) -> Outcome:
        """Return what evaluating came to, or raised."""
        return outcome(self._engine, strategy)


class RayCrew:
    """Actors with a copy of the engine each; it is put into the object store once.

    Args:
        engine: of the driver.
        size: how many.
        threads: of torch in each, and cores that Ray sets aside for it.
        gpus: that Ray sets aside for each.
        address: of a Ray that runs; without it that of ``RAY_ADDRESS``, or one is begun here.

    Attributes:
        size: how many.

    Raises:
        ConnectionError: there is no Ray at the address.
    """

    def __init__(
        self, engine: PruningEngine, size: int, threads: int = 1, gpus: float = 0.0, address: str | None = None
    ) -> None:
        self.size = size
        self._threads = threads
        self._began = not ray.is_initialized()
        if self._began:
            _connect(address or os.environ.get(ADDRESS) or HERE, size * threads)
        parcel = pack(engine)
        self._parcel = ray.put(
            (parcel.rest, [np.frombuffer(memoryview(content), np.uint8) for content in parcel.tensors])
        )
        # Who is lost is begun anew here, and not by Ray, which would have others wait for it.
        self._kind: Any = ray.remote(num_cpus=threads, num_gpus=gpus, max_restarts=0)(Evaluator)
        self._actors: dict[int, Any] = {}
        self._awaited: dict[Any, int] = {}
        for worker in range(size):
            self._start(worker)

    def hand(self, worker: int, strategy: Strategy) -> None:
        """Have an actor evaluate a strategy."""
        self._awaited[self._actors[worker].evaluate.remote(strategy)] = worker

    def wait(self, seconds: float | None) -> list[Answer]:
        """Return what actors have to say, after so many seconds nothing."""
        done, _ = ray.wait(list(self._awaited), timeout=seconds)
        return list(map(self._heard, done))

    def close(self) -> None:
        """End all actors, and Ray if it was begun here."""
        for actor in self._actors.values():
            with suppress(RayError):
                ray.kill(actor)
        if self._began:
            ray.shutdown()

    def _start(self, worker: int) -> None:
        actor = self._kind.remote(self._parcel, self._threads)
        self._actors[worker] = actor
        self._awaited[actor.ready.remote()] = worker

    def _heard(self, done: Any) -> Answer:  # noqa: ANN401  a reference of Ray
        worker = self._awaited.pop(done)
        try:
            evaluation, error = ray.get(done)
        except RayError as lost:  # the actor, its machine or its memory is gone
            with suppress(RayError):
                ray.kill(self._actors[worker])
            self._start(worker)
            return Answer(worker, lost=_last_line(lost)[:300])
        return Answer(worker, evaluation, error)


def _last_line(error: RayError) -> str:
    """Return what an error came of: Ray puts the trace before it."""
    return (str(error).strip() or type(error).__name__).splitlines()[-1]


def _connect(address: str, cores: int) -> None:
    """Connect to a Ray, or begin one that bears as many workers as are asked for, however few cores there are."""
    if address != HERE:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
        return
    # It would phone home.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    ray.init(
        address=HERE,
        num_cpus=max(cores, os.cpu_count() or 1),
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
        # By itself Ray has actors compute at a lower priority than all else on the machine, its own services included.
        _system_config={"worker_niceness": 0},
    )
