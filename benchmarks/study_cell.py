"""One cell of the study: a network, data and a target, and what every method makes of it in a given time."""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch._dynamo  # noqa: F401  tracing imports it, for more than a second that is none of a method's time
from torch import nn

from amc.config.policies import make_policy
from amc.config.schema import SearchConfig
from amc.run.plan import load_data, make_plan
from amc.run.stage import SearchPlan, Stage, whole_run
from amc.store.cache import cache_folder
from amc.training.dense import trained_network
from amc.training.finetune import FineTuner
from amc.training.network_cache import NetworkCache
from amc.training.sgd import Fitting
from amc.zoo.data.device_data import DeviceData
from baselines.global_threshold import global_threshold
from baselines.known_strategies import least_error_by_depth
from baselines.least_error import LeastError
from benchmarks.cpu_clock import Clock, Pace
from benchmarks.setting import make_config
from benchmarks.study_rivals import IMPORTANCES, macs, torch_pruned
from benchmarks.study_search import on_few_images, search_and_choose
from envs.constraint import ResourceBudget, uniform_strategy
from envs.engine.types import Strategy

PLAIN = "uniform, plain"
"""Neither repaired by least squares nor distilled."""
RIVAL = "torch-pruning "
"""What the names of its rankings begin with."""
TIMED = 7
"""Steps by which it is known how long one takes."""
FEW = 32
"""Images a step of the yardstick."""


def identity(row: Mapping[str, Any]) -> tuple[float, int, str]:
    """Return what tells a row from the others of its cell."""
    return row["minutes"], row["seed"], row["method"]


class Pruned(NamedTuple):
    """A network as fine-tuning begins with it.

    Attributes:
        network: pruned, and repaired if the method repairs.
        tuner: fine-tunes it.
        about: what to note of it; ``steps`` is how many of fine-tuning there is time for.
    """

    network: nn.Module
    tuner: FineTuner
    about: dict[str, Any]


@dataclass(frozen=True)
class Cell:
    """What methods are compared on.

    Attributes:
        cfg: the configuration.
        plan: data, settings and scoring, as a run's.
        dense: the trained network.
    """

    cfg: SearchConfig
    plan: SearchPlan
    dense: nn.Module

    def pace(self, reference: float | None = None) -> Pace:
        """Return the machine's pace, by steps of training the dense network.

        Args:
            reference: seconds of the yardstick in measurements that these belong to, see ``Pace``.
        """
        recipe = replace(self.cfg.train, epochs=10**6, batch_size=FEW)
        data = self.plan.data
        fitting = Fitting(copy.deepcopy(self.dense), data.splits, recipe, 0, str(data.device))
        return Pace(lambda: fitting.advance(fitting.done + 1), reference)

    def prune(self, method: str, minutes: float, seed: int, pace: Pace) -> Pruned:
        """Prune by a method, and count the steps that it leaves time for of so many minutes of CPU time."""
        clock = Clock(60 * minutes, pace)
        tuner = self.tuner(method, seed)
        network, about = METHODS[method](self, clock, tuner, seed)
        about["search_seconds"] = round(clock.spent, 1)
        left = clock.left()
        step = seconds_a_step(tuner, network, pace)  # for the study's sake, so that it counts for no method
        about |= {"steps": max(1, int(left / step)), "step_seconds": round(step, 4), "yardstick": pace.reference}
        example = self.plan.data.inputs(self.plan.data.splits.calibration.images[:1])
        about["flops"] = macs(network, example) / macs(self.dense, example)
        return Pruned(network, tuner, about)

    def maker(self, method: str, seed: int) -> Callable[[Strategy | None], nn.Module]:
        """Return what makes a method's networks once more of the strategies that it came to; a rival came to none."""
        if method.startswith(RIVAL):
            ranking = method.removeprefix(RIVAL)
            return lambda _: torch_pruned(self.dense, self.plan.data, ranking, self.cfg.target)
        engine = self.stage(seed=seed, reconstruct=method != PLAIN).engine
        return lambda strategy: engine.finish(tuple(strategy or ()))

    def score(self, network: nn.Module) -> float:
        """Return the accuracy on test."""
        return self.plan.data.scorer(self.plan.data.splits.test)(network).metric

    def stage(self, **engine: Any) -> Stage:  # noqa: ANN401  settings of the engine that differ
        """Trace the dense network and calibrate repair, as a search does."""
        plan = on_few_images(self.plan)
        return whole_run(replace(plan, engine=replace(plan.engine, **engine)), self.dense)

    def tuner(self, method: str, seed: int) -> FineTuner:
        """Return what fine-tunes the networks of a method."""
        settings = replace(self.cfg.finetune, distill=0.0) if method == PLAIN else self.cfg.finetune
        cache = NetworkCache(cache_folder(self.cfg.cache_dir) / "study", "none")
        return FineTuner(settings, self.cfg.train, self.plan.data, self.plan.score, seed, self.dense, cache)


def make_cell(keys: Sequence[str], loaded: DeviceData | None = None) -> Cell:
    """Load data and network of a configuration; that takes none of a method's time.

    Args:
        keys: of the configuration.
        loaded: its data, where another cell has loaded it.
    """
    cfg = make_config(*keys)
    data = loaded or load_data(cfg)
    return Cell(cfg, make_plan(cfg, data), trained_network(cfg, data))


def seconds_a_step(tuner: FineTuner, network: nn.Module, pace: Pace) -> float:
    """Train a copy for a few steps and return how long one takes on the reference machine."""
    fitting = tuner.fitting(copy.deepcopy(network), tuner.recipe_of(10**6))
    return pace.reference_seconds(lambda: fitting.advance(fitting.done + 1), TIMED)


def searched(policy: str) -> "Method":
    """Return the method that searches by a policy."""
    make_policy(policy, seed=0)  # imports what it is made of, which is none of a method's time

    def method(cell: Cell, clock: Clock, tuner: FineTuner, seed: int) -> tuple[nn.Module, dict[str, Any]]:  # noqa: ARG001
        found = search_and_choose(cell.stage(seed=seed), policy, clock, seed)
        return found.network, {
            "strategy": found.strategy,
            "episodes": found.episodes,
            "finalists": found.finalists,
        }

    return method


def known(find: Callable[[ResourceBudget], Strategy], **engine: Any) -> "Method":  # noqa: ANN401  settings of it
    """Return the method that takes a strategy that needs no evaluation."""

    def method(cell: Cell, clock: Clock, tuner: FineTuner, seed: int) -> tuple[nn.Module, dict[str, Any]]:  # noqa: ARG001
        stage = cell.stage(seed=seed, **engine)
        strategy = find(stage.problem.budget)
        return stage.engine.finish(strategy), {"strategy": strategy}

    return method


def rival(importance: str) -> "Method":
    """Return the method that takes one of torch-pruning's rankings."""

    def method(cell: Cell, clock: Clock, tuner: FineTuner, seed: int) -> tuple[nn.Module, dict[str, Any]]:  # noqa: ARG001
        return torch_pruned(cell.dense, cell.plan.data, importance, cell.cfg.target), {}

    return method


Method = Callable[[Cell, Clock, FineTuner, int], tuple[nn.Module, dict[str, Any]]]
"""From a cell, the time, the fine-tuning that follows and a seed to a pruned network, and what to note of it."""

METHODS: dict[str, Method] = {
    "amc": searched("amc"),
    "local search": searched("reconstruction"),
    "uniform": known(uniform_strategy),
    PLAIN: known(uniform_strategy, reconstruct=False),
    "least error": known(lambda budget: LeastError(budget).strategy()),
    "least error by depth": known(least_error_by_depth),
    "global threshold": known(global_threshold),
    **{RIVAL + name: rival(name) for name in IMPORTANCES},
}
"""All spend what they leave of the time on fine-tuning by the same recipe."""
