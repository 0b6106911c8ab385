"""Every policy that plays on landscapes, by the name that tables have."""

from collections.abc import Callable
from functools import partial

from hydra.utils import get_object

from amc.agent.policy import AMC
from amc.config.policies import make_policy
from baselines.global_threshold import GlobalThreshold
from baselines.optuna_search import OptunaSearch
from baselines.reconstruction import Reconstruction
from envs.search import SearchPolicy

Maker = Callable[[int], SearchPolicy]
"""From a seed to a policy."""
SAMPLERS = ("tpe", "cmaes", "gp", "nsga2")


def _optuna(sampler: str, start: str, seed: int) -> SearchPolicy:
    return OptunaSearch(sampler, seed, start)


def _named(name: str) -> Maker:
    return partial(make_policy, name)


POLICIES: dict[str, Maker] = {
    **{name: _named(name) for name in ("amc", "amc_paper", "td3", "sac", "random", "uniform", "sensitivity")},
    "least error": lambda seed: Reconstruction(seed, local_search=False),
    "least error, local search": _named("reconstruction"),
    "global threshold, mean": lambda _: GlobalThreshold("mean"),
    "global threshold, l2": lambda _: GlobalThreshold("l2"),
    **{f"optuna-{sampler}": partial(_optuna, sampler, "random") for sampler in SAMPLERS},
    **{f"optuna-{sampler}, known starts": partial(_optuna, sampler, "known") for sampler in SAMPLERS},
}
VARIANTS: dict[str, Maker] = {
    "amc, paper's observation": lambda seed: AMC(seed=seed, observation="paper"),
    "amc, random start": lambda seed: AMC(seed=seed, start="random"),
    "amc, no bonus": lambda seed: AMC(seed=seed, bonus=0.0),
    "amc, bonus 1": lambda seed: AMC(seed=seed, bonus=1.0),
    "amc, actor": lambda seed: AMC(seed=seed, planning=False, warm_up=0.1),
}
"""The agent with one thing changed each; they play where they are asked for."""
SAME_FOR_ALL_SEEDS = ("uniform", "sensitivity", "least error", "global threshold, mean", "global threshold, l2")
"""They draw nothing: one search stands for all seeds."""


def entrant(path: str) -> Maker:
    """Return the maker of anyone's policy: a class, by its dotted path, that is called with ``seed`` alone.

    Raises:
        SystemExit: it cannot be imported.
    """
    try:
        found = get_object(path)
    except Exception as error:  # importing runs the entrant's code
        raise SystemExit(f"--enter {path}: cannot be imported; is it on PYTHONPATH?") from error
    return lambda seed: found(seed=seed)
