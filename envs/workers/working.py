"""Who evaluates the strategies of a search: this process, others of this machine, or actors of Ray."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager

from envs.engine.types import PruningEngine
from envs.pruning_env import PruningEnv
from envs.workers.crew import Crew
from envs.workers.engine import WorkersEngine
from envs.workers.local import LocalCrew
from envs.workers.settings import WorkersSettings


@contextmanager
def at_work(workers: WorkersSettings, problem: PruningEnv) -> Iterator[PruningEnv]:
    """Yield a problem with its strategies evaluated by workers, who work until the block ends.

    Args:
        workers: who.
        problem: as it is evaluated by this process.

    Raises:
        WorkersLost: workers die of what they are to do.
    """
    with engine_at_work(workers, problem.engine) as engine:
        worked = copy.copy(problem)
        worked.engine = engine
        yield worked


@contextmanager
def engine_at_work(workers: WorkersSettings, engine: PruningEngine) -> Iterator[PruningEngine]:
    """Do as ``at_work``, for the engine of any number of problems."""
    if workers.name == "none":
        yield engine
        return
    with WorkersEngine(engine, make_crew(workers, engine)) as working:
        yield working


def make_crew(workers: WorkersSettings, engine: PruningEngine) -> Crew:
    """Begin the workers, who are to be waited for until they are ready.

    Args:
        workers: some, as ``local`` or ``ray``.
        engine: that each has a copy of.
    """
    if workers.name == "local":
        return LocalCrew(engine, workers.n, workers.threads)
    from envs.workers.ray_actors import RayCrew  # an extra

    return RayCrew(engine, workers.n, workers.threads, workers.gpus, workers.address)
