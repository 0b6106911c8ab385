"""Policies on real networks, by evaluations: what landscapes say of them, checked where nothing is fitted.

    python -m benchmarks.real_searches --output FILE --networks vgg16-digits --seeds 5
    python -m benchmarks.real_searches --output FILE --networks resnet20-cifar10 data=image_folder data.folder=DIR

Networks are those of ``benchmarks/landscapes/catalog.py``. Every policy searches on the same engine, by accuracy on the
search split, for as many evaluations. A regret is 0 for the best strategy that any of the searches in the file found
there, 1 for what random strategies come to on average. What is in the file is not measured again; the last line of the
output is JSON.
"""

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean

from rich.console import Console
from rich.table import Table

from benchmarks.landscapes.catalog import COMMON, NETWORKS, TARGETS, Keys
from benchmarks.landscapes.playing import leaders_of, maker, noted_of
from benchmarks.landscapes.recording import open_engine
from benchmarks.landscapes.regrets import summary
from benchmarks.landscapes.rivals import POLICIES, SAME_FOR_ALL_SEEDS, VARIANTS
from benchmarks.record import Record, Row
from benchmarks.setting import machine
from envs.coreset_scoring import pilot_strategies
from envs.engine.torch_engine import TorchEngine
from envs.pruning_env import PruningEnv
from envs.search import RecordTrials, unmet_need

CHANCE = "random strategies"
"""Not a policy: the mean of many, which a regret of 1 is."""
DRAWN = 50
SHOWN = (1, 10, 30, 75)
console = Console(stderr=True)


@dataclass(frozen=True)
class Search:
    """One search, named as a game on a landscape is.

    Attributes:
        landscape: the network and its data, a name of the catalog.
        target: on FLOPs.
        policy: its name in ``benchmarks/landscapes/rivals.py``, or the dotted path of an entrant.
        seed: of the policy.
        episodes: that it may play.
    """

    landscape: str
    target: float
    policy: str
    seed: int
    episodes: int


def arguments(given: Sequence[str] | None) -> argparse.Namespace:
    """Parse the options."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.real_searches",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--output", type=Path, required=True, help="file of finished searches")
    parser.add_argument("--networks", nargs="+", choices=list(NETWORKS), required=True)
    parser.add_argument("--targets", nargs="+", type=float, choices=TARGETS, default=[0.3, 0.15])
    parser.add_argument("--policies", nargs="+", choices=[*POLICIES, *VARIANTS], default=list(POLICIES))
    parser.add_argument("--enter", nargs="+", default=[], help="dotted paths of policies of your own: a class each")
    parser.add_argument("--seeds", type=int, default=5, help="how many, counted from 0")
    parser.add_argument("--episodes", type=int, default=150)
    parser.add_argument("keys", nargs="*", help="keys of amc.search that differ, such as data.folder=DIR")
    return parser.parse_args(given)


def searches(args: argparse.Namespace, network: str) -> Iterator[Search]:
    """Yield the searches of a network, seed by seed, so that what is stopped compares all policies."""
    for seed in range(args.seeds):
        for target in args.targets:
            for policy in (*args.policies, *args.enter):
                if seed == 0 or policy not in SAME_FOR_ALL_SEEDS:
                    yield Search(network, target, policy, seed, args.episodes)


def measure(network: str, more: Keys, wanted: Sequence[Search], record: Record) -> list[Row]:
    """Search what is not in the record, and return all; a strategy that two searches play is scored once."""
    done = {json.dumps(row["game"]): row for row in record.rows}
    targets = {search.target for search in wanted}
    chances = [Search(network, target, CHANCE, 0, DRAWN) for target in sorted(targets)]
    missing = [search for search in (*chances, *wanted) if json.dumps(asdict(search)) not in done]
    engine, needs = open_engine((*COMMON, *NETWORKS[network], *more)) if missing else (None, {})
    for search in missing:
        assert engine is not None
        if search.policy != CHANCE and unmet_need(maker(search.policy)(search.seed), needs):
            continue
        row = {"game": asdict(search), "metric": _metrics(engine, search)}
        record.add(row)
        done[json.dumps(row["game"])] = row
        console.print(f"{network} at {search.target}, seed {search.seed}, {search.policy}: {row['metric']}")
    return [done[key] for search in (*chances, *wanted) if (key := json.dumps(asdict(search))) in done]


def _metrics(engine: TorchEngine, search: Search) -> dict[str, float]:
    """Return the accuracy of the best strategy after so many evaluations; of random ones the mean."""
    problem = PruningEnv(engine, target=search.target)
    if search.policy == CHANCE:
        return {str(search.episodes): _chance(problem, search.episodes)}
    env = RecordTrials(problem, search.episodes)
    maker(search.policy)(search.seed).search(env)
    leaders = leaders_of(env.trials)
    return {str(n): leaders[min(n, len(leaders)) - 1].evaluation.metric for n in noted_of(search.episodes)}


def _chance(problem: PruningEnv, count: int) -> float:
    drawn = pilot_strategies(problem.budget, count, seed=0)
    return mean(problem.engine.evaluate(strategy).metric for strategy in drawn)


def with_regrets(rows: Sequence[Row]) -> list[Row]:
    """Return the searches with their regrets beside their accuracies."""
    best: dict[tuple[str, float], float] = {}
    chance: dict[tuple[str, float], float] = {}
    for row in rows:
        cell = row["game"]["landscape"], row["game"]["target"]
        highest = max(row["metric"].values())
        if row["game"]["policy"] == CHANCE:
            chance[cell] = highest
        else:
            best[cell] = max(best.get(cell, highest), highest)
    found = []
    for row in rows:
        cell = row["game"]["landscape"], row["game"]["target"]
        if row["game"]["policy"] != CHANCE:
            width = best[cell] - chance[cell]
            regret = {count: (best[cell] - metric) / width for count, metric in row["metric"].items()}
            found.append(row | {"regret": regret})
    return found


def show(figures: Mapping[int, Mapping[str, Row]], episodes: int, title: str) -> None:
    """Print the mean regrets, the best at the end first, and how surely ours is ahead of each."""
    counts = list(figures)
    table = Table("policy", *(f"after {count}" for count in counts), "rank", "amc less this", "p", title=title)
    for policy, last in figures[episodes].items():
        regrets = (f"{figures[count][policy]['regret']:.3f}" for count in counts)
        gain, p = last.get("ours_less_this"), last.get("p")
        tests = ("", "") if gain is None else (f"{gain:+.3f}", "" if p is None else f"{p:.4f}")
        table.add_row(policy, *regrets, "" if last["rank"] is None else f"{last['rank']:.1f}", *tests)
    Console(width=140).print(table)


def main(given: Sequence[str] | None = None) -> None:
    """Measure what is missing, and print a table and one line of JSON."""
    args = arguments(given)
    record = Record(args.output, {"schema": 1, "drawn": DRAWN})
    rows = [
        row
        for network in args.networks
        for row in measure(network, tuple(args.keys), list(searches(args, network)), record)
    ]
    counts = [*(count for count in SHOWN if count < args.episodes), args.episodes]
    regrets = with_regrets(rows)
    figures = {count: summary(regrets, count, range(args.seeds)) for count in counts}
    show(figures, args.episodes, f"{', '.join(args.networks)} at {args.targets}, {args.seeds} seeds")
    print(json.dumps({"figures": figures, "machine": machine()}))


if __name__ == "__main__":
    main()
