"""Workers of a run: what they end with is said in a line that names the key."""

from collections.abc import Iterator
from contextlib import contextmanager

from amc.errors import ConfigError
from envs.pruning_env import PruningEnv
from envs.workers import working
from envs.workers.crew import WorkersLost
from envs.workers.settings import WorkersSettings


@contextmanager
def at_work(workers: WorkersSettings, problem: PruningEnv) -> Iterator[PruningEnv]:
    """Do as ``envs.workers.working.at_work``.

    Raises:
        ConfigError: workers die of what they are to do.
    """
    try:
        with working.at_work(workers, problem) as worked:
            yield worked
    except WorkersLost as error:
        raise ConfigError(f"workers={workers.name}: {error}") from error
