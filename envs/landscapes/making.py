"""What ``gymnasium.make("amc/PruningBench-...-v0")`` calls."""

from typing import Any

from envs.landscapes.engine import LandscapeEngine
from envs.landscapes.files import read_landscape
from envs.pruning_env import PruningEnv


def make_bench(name: str, noise: bool = False, noise_seed: int = 0, **problem: Any) -> PruningEnv:  # noqa: ANN401
    """Return the problem of pruning a recorded network.

    Args:
        name: of the landscape.
        noise: whether evaluations scatter as real ones do.
        noise_seed: of the scatter.
        **problem: as for ``PruningEnv``, such as ``target``.
    """
    landscape = read_landscape(name)
    return PruningEnv(LandscapeEngine(landscape.description, landscape.surrogate, noise, noise_seed), **problem)
