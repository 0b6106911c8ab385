"""Seconds until a strategy is found that is as good as AMC's procedure finds in so many episodes.

    python benchmarks/time_to_quality.py               # a quarter of an hour on one core
    python benchmarks/time_to_quality.py --episodes 40 --policies reconstruction

Seconds are those of all cores, from the start of a process that has a trained network on disk: imports, data, tracing,
calibration, pilots, and every episode until the first that is as good, scored on the whole search split.

AMC's procedure is the agent as its paper has it, which starts from random ratios, with every strategy evaluated by
``reference_procedure``. That takes ten seconds a strategy, and comes to the accuracies of the engine without adaptive
batch norm. So the agent is played on that engine; ``--timed`` of the strategies it played are evaluated by the
procedure itself, which says how long each took, and by how much accuracies differ.
"""

import argparse
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from typing import NamedTuple

import torch
from coreset_ranking import choose
from reference_procedure import ReferenceProcedure
from rich.console import Console
from rich.table import Table
from setting import Clock, Setting, clocked, make_setting, print_json

from amc.agent.policy import AMC
from baselines.optuna_search import OptunaSearch
from baselines.random_search import RandomSearch
from baselines.reconstruction import Reconstruction
from baselines.uniform import Uniform
from envs.engine.scoring.top1 import Top1Scorer
from envs.engine.settings import EngineSettings
from envs.engine.torch_engine import TorchEngine
from envs.pruning_env import PruningEnv
from envs.search import RecordTrials, SearchPolicy, Trial

KEYS = ("model=mobilenet", "data=fashion_mnist", "data.calibration=3000", "train.epochs=3")
MIN_KEEP = 0.1
POLICIES: dict[str, SearchPolicy] = {
    "uniform": Uniform(),
    "reconstruction": Reconstruction(),
    "amc": AMC(),
    "optuna, known start": OptunaSearch(start="known"),
    "random": RandomSearch(),
}
THEIRS = AMC(start="random", warm_up=0.25, sigma=0.5, gamma=1, actor_lr=1e-4, imitation=0)


class Reached(Exception):
    """A search found what it was to find."""


@dataclass
class UntilAsGood:
    """A sink that ends a search at the first feasible trial that is as good on the whole split.

    Attributes:
        wanted: accuracy.
        engine: prunes; a trial that was scored on fewer images is scored on all before it counts.
        whole: scores on all.
    """

    wanted: float
    engine: TorchEngine
    whole: Top1Scorer

    def __call__(self, trial: Trial) -> None:
        """Look at a trial.

        Raises:
            Reached: it is as good.
        """
        if not trial.feasible or trial.evaluation.metric < self.wanted:
            return
        if trial.evaluation.n_samples < len(self.whole):
            network = self.engine.prune(trial.strategy)
            if self.engine.run(network, self.whole).metric < self.wanted:
                return
        raise Reached


class Way(NamedTuple):
    """What a policy took.

    Attributes:
        start: seconds before its first episode.
        seconds: until it was as good; ``None`` where it never was.
        trials: that it played.
    """

    start: float
    seconds: float | None
    trials: int


def make_engine(setting: Setting, settings: EngineSettings) -> TorchEngine:
    """Trace the network and calibrate its repair."""
    score = Top1Scorer(setting.search, setting.labels)
    return TorchEngine(setting.model, setting.calibration[:1], setting.calibration, score, settings)


def play(setting: Setting, policy: SearchPolicy, args: argparse.Namespace, wanted: float, scoring: str) -> Way:
    """Build everything that a search needs anew, and search until a trial is as good."""
    begun = time.process_time()
    engine = make_engine(setting, EngineSettings())
    whole = engine.score
    assert isinstance(whole, Top1Scorer)
    if scoring == "coreset":
        engine.score = choose(engine, args.target, MIN_KEEP, whole, args.error).score
    start = time.process_time() - begun
    problem = PruningEnv(engine, target=args.target, min_keep=MIN_KEEP)
    env = RecordTrials(problem, args.most, [UntilAsGood(wanted, engine, whole)])
    try:
        policy.search(env)
    except Reached:
        return Way(start, time.process_time() - begun, len(env.trials))
    return Way(start, None, len(env.trials))


def theirs(setting: Setting, args: argparse.Namespace, before: float) -> Mapping[str, float]:
    """Return what AMC's procedure reaches, and its seconds until then; ``before`` are those of imports and data."""
    engine = make_engine(setting, EngineSettings(adaptive_bn=0, precision="fp32"))
    record = Clock([], [])
    reference = clocked(
        record, partial(ReferenceProcedure, engine.model, engine.pruner, setting.calibration, engine.settings.seed)
    )
    problem = PruningEnv(engine, target=args.target, min_keep=MIN_KEEP, constraint="bound")
    env = RecordTrials(problem, args.episodes)
    searched = Clock([], [])
    clocked(searched, partial(THEIRS.search, env))
    agent = sum(searched.cpu) - sum(trial.engine_seconds for trial in env.trials)
    best = max(env.trials, key=lambda trial: trial.evaluation.metric)
    highest = list(accumulate((trial.evaluation.metric for trial in env.trials), max))
    timed, differences = Clock([], []), []
    for trial in env.trials[:: max(1, len(env.trials) // args.timed)][: args.timed]:
        found = clocked(
            timed,
            lambda strategy=trial.strategy: reference.accuracy(
                reference.prune(engine.kept(strategy)), setting.search, setting.labels
            ),
        )
        differences.append(abs(found - trial.evaluation.metric))
    episode, start = timed.median() + max(0.0, agent) / args.episodes, before + record.median()
    return {
        "accuracy": best.evaluation.metric,
        "episodes": highest.index(highest[-1]) + 1,
        "episode_seconds": episode,
        "start_seconds": start,
        "seconds": start + episode * args.episodes,
        "seconds_to_best": start + episode * (highest.index(highest[-1]) + 1),
        "difference": max(differences),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print a table and one line of JSON."""
    imports = time.process_time()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", type=float, default=0.2, help="fraction of the FLOPs")
    parser.add_argument("--episodes", type=int, default=150, help="episodes of AMC's procedure")
    parser.add_argument("--timed", type=int, default=3, help="of them evaluated by the procedure itself")
    parser.add_argument("--most", type=int, default=40, help="episodes that our policies get at the most")
    parser.add_argument("--rounds", type=int, default=1, help="times that each policy is started")
    parser.add_argument("--policies", nargs="+", choices=list(POLICIES), default=list(POLICIES))
    parser.add_argument("--scoring", nargs="+", choices=("full", "coreset"), default=["full", "coreset"])
    parser.add_argument("--error", type=float, help="scoring.error")
    parser.add_argument("keys", nargs="*", help="keys of amc.search, such as cache_dir=... or data.search=1000")
    args = parser.parse_args(arguments)
    keys = (*KEYS, *args.keys)
    make_setting(*keys)  # trains the network if it is not on disk
    torch.set_num_threads(1)
    loading = Clock([], [])
    setting = clocked(loading, partial(make_setting, *keys))
    before = imports + loading.median()
    them = theirs(setting, args, before)
    table = Table("policy", "scoring", "episodes", "seconds", "AMC's procedure takes")
    console, ratios = Console(), {}
    for name in args.policies:
        for scoring in args.scoring:
            ways = [play(setting, POLICIES[name], args, them["accuracy"], scoring) for _ in range(args.rounds)]
            reached = [before + way.seconds for way in ways if way.seconds is not None]
            seconds = statistics.median(reached) if len(reached) == len(ways) else None
            ratio = None if seconds is None else them["seconds"] / seconds
            ratios[f"{name}, {scoring}"] = {
                "episodes": ways[0].trials,
                "start_seconds": round(before + statistics.median(way.start for way in ways), 1),
                "seconds": seconds and round(seconds, 1),
                "times_sooner": ratio and round(ratio, 1),
            }
            shown = ("never", "-") if ratio is None else (f"{seconds:.1f}", f"{ratio:.0f} times as long")
            table.add_row(name, scoring, str(ways[0].trials), *shown)
    console.print(table)
    print_json(
        {
            "target": args.target,
            "amc_procedure": {name: round(value, 4) for name, value in them.items()},
            "before_engine_seconds": round(before, 1),
            "ways": ratios,
            "times_sooner": max((way["times_sooner"] for way in ratios.values() if way["times_sooner"]), default=None),
        }
    )


if __name__ == "__main__":
    main()
