"""Records real evaluations of pruned networks, and goes on where it was stopped."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path

import numpy as np
from rich.console import Console

from amc.config.policies import make_policy
from amc.run.plan import make_plan
from amc.run.stage import make_engine
from amc.zoo.data.device_data import DeviceData
from baselines.optuna_search import OptunaSearch
from benchmarks.landscapes.catalog import COMMON, NETWORKS, TARGETS, Keys
from benchmarks.landscapes.drawing import Drawn, draw, draw_between
from benchmarks.landscapes.fitting import climbed, sample_of, train
from benchmarks.landscapes.records import Record, plain, record_path
from benchmarks.record import without_private
from benchmarks.setting import make_config, make_setting
from envs.constraint import TargetError
from envs.costs.cost_table import cost_table
from envs.engine.torch_engine import TorchEngine
from envs.engine.types import Evaluation, KnowsReconstructionError, KnowsUnitScores, Strategy
from envs.landscapes.description import RESOURCES, Description, read_description
from envs.pruning_env import PruningEnv
from envs.search import RecordTrials, SearchPolicy, unmet_need

SAVED_EVERY = 25
"""Evaluations."""
SEARCHED, CHECKED = 60, 40
"""Episodes of each search at each target: of those that are fitted to, and of those that are not."""
SEARCHES: dict[str, Callable[[], SearchPolicy]] = {
    "search reconstruction": lambda: make_policy("reconstruction", 0),
    "search tpe": lambda: OptunaSearch("tpe", 0, start="known"),
}
CHECKS: dict[str, Callable[[], SearchPolicy]] = {
    "check sensitivity": lambda: make_policy("sensitivity", 0),
    "check cmaes": lambda: OptunaSearch("cmaes", 0, start="known"),
    "check amc": lambda: make_policy("amc", 0),
}
CLIMBED = "best of a surrogate"
QUICK = 500
"""Steps of fitting on the way."""
ROUNDS, ENDS = 3, 8
"""Of climbing: how often, and how many strategies at each target."""
console = Console(stderr=True)


class TimeIsUp(Exception):
    """The minutes given are over."""


class Recorder:
    """Scores strategies that were not scored before, and keeps what came out.

    Args:
        record: of the network.
        engine: of the network; what is recorded is not scored again.
        seconds: when these are over, :class:`TimeIsUp` is raised.
    """

    def __init__(self, record: Record, engine: TorchEngine, seconds: float) -> None:
        self._record = record
        self._engine = engine
        self._end = time.monotonic() + seconds
        for row in record.rows:
            units = zip(row.kept, engine.layers, strict=True)
            strategy = tuple(count / layer.units for count, layer in units)
            count = record.description.dense.n_samples
            engine.remember(strategy, Evaluation(row.metric, row.loss, count, row.divergence))

    def take(self, source: str, target: float, strategy: Strategy) -> None:
        """Score a strategy, unless it is recorded."""
        if self._engine.kept(strategy) not in self._record.known:
            self._add(source, target, strategy)

    def take_drawn(self, columns: Mapping[float, Sequence[Drawn]], part: slice) -> None:
        """Score a part of the strategies drawn for each target; targets take turns."""
        for row in zip_longest(*(column[part] for column in columns.values())):
            for target, drawn in zip(columns, row, strict=True):
                if drawn is not None:
                    self.take(drawn.source, target, drawn.strategy)

    def climb(self) -> None:
        """Score what a surrogate of the record takes for the best, several times: it is wrong there at first."""
        before = [row for row in self._record.rows if row.source == CLIMBED]
        while len(before) < ROUNDS * len(TARGETS) * ENDS:
            surrogate = train(sample_of(self._record.description, self._record.fitted()), 2, QUICK)
            found = climbed(self._record, surrogate)
            new = [(target, each) for target, ends in found.items() for each in ends[:ENDS]]
            for target, strategy in new:
                self.take(CLIMBED, target, strategy)
            now = [row for row in self._record.rows if row.source == CLIMBED]
            if len(now) == len(before):
                return
            before = now

    def watch(self, source: str, target: float, policy: SearchPolicy, episodes: int) -> None:
        """Let a policy search, and record its evaluations."""
        problem = PruningEnv(self._engine, target=target)
        env = RecordTrials(problem, episodes, [lambda trial: self.take(source, target, trial.strategy)])
        policy.search(env)

    def _add(self, source: str, target: float, strategy: Strategy) -> None:
        self._record.add(source, target, self._engine.kept(strategy), self._engine.evaluate(strategy))
        if len(self._record.rows) % SAVED_EVERY == 0:
            self._record.save()
        if time.monotonic() > self._end:
            raise TimeIsUp


def record(name: str, more: Keys, number: int, minutes: float, output: Path) -> bool:
    """Record a network until all is recorded or the time is over, and tell whether all is.

    Args:
        name: of the network, in the catalog.
        more: keys that differ from the catalog's, such as where data lies.
        number: strategies that are drawn at each target.
        minutes: after which to stop.
        output: folder of the records.
    """
    keys = (*COMMON, *NETWORKS[name], *more)
    engine, needs = open_engine(keys)
    path = record_path(name, output)
    kept = Record(path, describe(engine, tuple(without_private(keys))))
    recorder = Recorder(kept, engine, 60 * minutes)
    try:
        _record_all(recorder, engine, number, needs)
    except TimeIsUp:
        return False
    finally:
        kept.save()
        console.print(f"{name}: {len(kept.rows)} strategies in {path}")
    return True


def _record_all(recorder: Recorder, engine: TorchEngine, number: int, needs: dict[str, object]) -> None:
    """Record what is wanted, so that a record cut short has some of everything."""
    targets = list(feasible_targets(engine))
    columns = {target: draw(PruningEnv(engine, target=target), number, seed) for seed, target in enumerate(targets)}
    recorder.take_drawn(columns, slice(0, number // 3))
    for source, strategy in draw_between(PruningEnv(engine, target=targets[0]), number // 4, len(targets)):
        recorder.take(source, 1.0, strategy)
    recorder.climb()
    for searches, episodes in ((SEARCHES, SEARCHED), (CHECKS, CHECKED)):
        for source, make in searches.items():
            policy = make()
            if not unmet_need(policy, needs):
                for target in targets:
                    recorder.watch(source, target, policy, episodes)
    recorder.take_drawn(columns, slice(number // 3, number))
    recorder.climb()


def feasible_targets(engine: TorchEngine) -> Iterator[float]:
    """Yield the targets that the network can meet."""
    for target in TARGETS:
        try:
            PruningEnv(engine, target=target)
        except TargetError:
            continue
        yield target


def open_engine(keys: Keys) -> tuple[TorchEngine, dict[str, object]]:
    """Return the engine of a run with these keys, and the settings that policies may ask for."""
    cfg = make_config(*keys)
    setting = make_setting(*keys)
    data = DeviceData(setting.splits, setting.labels.device)
    engine = make_engine(make_plan(cfg, data), setting.model)
    needs = {"granularity": cfg.granularity, "reconstruct": cfg.reconstruct, "scoring": "full", "constraint": "rescale"}
    return engine, needs


def describe(engine: TorchEngine, keys: Keys) -> Description:
    """Return what is known of a network before any strategy is scored."""
    steps = range(len(engine.layers))
    errors = scores = None
    if isinstance(engine, KnowsReconstructionError):
        errors = tuple(tuple(engine.reconstruction_error(step)) for step in steps)
    if isinstance(engine, KnowsUnitScores) and engine.settings.granularity == "channel":  # of weights they are millions
        scores = tuple(tuple(np.sort(engine.unit_scores(step))[::-1].tolist()) for step in steps)
    dense = engine.evaluate(engine.dense_strategy)
    costs = {name: cost_table(engine, name) for name in RESOURCES if name != "memory" or errors is not None}
    return read_description(plain(Description(keys, engine.layers, costs, errors, scores, dense).as_json()))
