"""Who evaluates the strategies of a search: this process, others of this machine, or actors of Ray."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager

from amc.errors import ConfigError
from envs.engine.types import PruningEngine
from envs.pruning_env import PruningEnv
from envs.workers.crew import Crew, WorkersLost
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
        ConfigError: workers die of what they are to do, or there is no Ray where one is said to be.
    """
    if workers.name == "none":
        yield problem
        return
    try:
        with WorkersEngine(problem.engine, _crew(workers, problem.engine)) as engine:
            worked = copy.copy(problem)
            worked.engine = engine
            yield worked
    except WorkersLost as error:
        raise ConfigError(f"workers={workers.name}: {error}") from error


def _crew(workers: WorkersSettings, engine: PruningEngine) -> Crew:
    if workers.name == "local":
        return LocalCrew(engine, workers.n, workers.threads)
    from envs.workers.ray_actors import RayCrew  # an extra

    return RayCrew(engine, workers.n, workers.threads, workers.gpus, workers.address)
