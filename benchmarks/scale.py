"""How a search grows with its workers: a simulation with stated evaluation times on recorded networks.

    python benchmarks/scale.py --picture benchmarks/scale.png
    python benchmarks/scale.py --known points.jsonl    # keeps every search, and goes on from those that are there
    python benchmarks/scale.py --quality

The driver is the real one: policy, referee and ``WorkersEngine`` run as in a search, and the time they take is counted
as it is (CPU seconds of one core). Workers are simulated: an evaluation takes the stated seconds, scattered by a
lognormal factor of mean 1, on a clock that stands still while nobody waits. The first part prints the efficiency: the
seconds of all evaluations over workers times the duration of the search, which begins and ends with idle workers. A
strategy that is asked for again is looked up, and keeps nobody busy. The second part prints what it costs to propose
without knowing: how far the best of a fixed number of episodes stays behind the best strategy known on that landscape.
"""

import argparse
import heapq
import itertools
import json
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import mean
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator
from rich.console import Console
from rich.table import Table
from setting import print_json

from amc.agent.policy import AMC
from baselines.optuna_search import OptunaSearch
from baselines.random_search import RandomSearch
from baselines.reconstruction import Reconstruction
from baselines.sensitivity import SensitivityAnalysis
from envs.engine.types import PruningEngine, Strategy
from envs.landscapes.engine import LandscapeEngine
from envs.landscapes.files import Landscape, read_landscape
from envs.pruning_env import PruningEnv
from envs.search import RecordTrials, SearchPolicy, play
from envs.workers.crew import Answer
from envs.workers.engine import WorkersEngine

TARGET = 0.3
POLICIES: dict[str, Callable[[int], SearchPolicy]] = {
    "random": lambda seed: RandomSearch(seed),
    "least error": lambda seed: Reconstruction(seed),
    "sensitivity": lambda _: SensitivityAnalysis(),
    "tpe": lambda seed: OptunaSearch("tpe", seed=seed),
    "amc": lambda seed: AMC(seed=seed),
}
DO_NOT_WAIT = ("random", "least error", "tpe", "amc")
"""Policies that always have something to propose; sensitivity analysis waits between its rounds."""


class Simulated:
    """Workers whose evaluations take as long as is said, on a clock of their own.

    Args:
        engine: says what comes out.
        size: how many.
        seconds: mean time of an evaluation.
        scatter: standard deviation of the logarithm of the factor on it.
        seed: of the factors.
    """

    def __init__(self, engine: PruningEngine, size: int, seconds: float, scatter: float, seed: int = 0) -> None:
        self.size, self.now, self.worked = size, 0.0, 0.0
        self._engine, self._seconds, self._scatter = engine, seconds, scatter
        self._rng = np.random.default_rng(seed)
        self._events: list[tuple[float, int, Strategy | None]] = [(0.0, worker, None) for worker in range(size)]
        self._left = time.process_time()

    def hand(self, worker: int, strategy: Strategy) -> None:
        """Begin an evaluation now, after what the driver took since it was last waiting."""
        self._catch_up()
        factor = math.exp(self._scatter * self._rng.standard_normal() - self._scatter**2 / 2)
        heapq.heappush(self._events, (self.now + self._seconds * factor, worker, strategy))
        self.worked += self._seconds * factor

    def wait(self, _: float | None) -> list[Answer]:
        """Let the next evaluation end."""
        self._catch_up()
        end, worker, strategy = heapq.heappop(self._events)
        self.now = max(self.now, end)
        answer = Answer(worker) if strategy is None else Answer(worker, self._engine.evaluate(strategy))
        self._left = time.process_time()  # what the landscape took is not the driver's
        return [answer]

    def close(self) -> None:
        """Do nothing."""

    def _catch_up(self) -> None:
        now = time.process_time()
        self.now += now - self._left
        self._left = now


class Point(NamedTuple):
    """One simulated search."""

    policy: str
    seconds: float
    workers: int
    episodes: int
    different: int
    efficiency: float
    speed_up: float
    driver_ms: float


def simulate(landscape: Landscape, policy: str, workers: int, seconds: float, args: argparse.Namespace) -> Point:
    """Simulate a search."""
    engine = LandscapeEngine(landscape.description, landscape.surrogate, noise=True)
    crew = Simulated(engine, workers, seconds, args.scatter)
    started = time.process_time()
    with WorkersEngine(engine, crew, patience=math.inf) as working:
        env = RecordTrials(PruningEnv(working, target=TARGET), min(args.most, max(args.least, args.each * workers)))
        play(POLICIES[policy](0), env)
    count = len(env.trials)
    driver = 1000 * (time.process_time() - started) / count
    speed_up = crew.worked / crew.now
    different = len({trial.strategy for trial in env.trials})
    return Point(policy, seconds, workers, count, different, speed_up / workers, speed_up, driver)


def regret(landscape: Landscape, policy: str, ahead: int, seed: int, episodes: int) -> float:
    """Return how far the best of a search stays behind the best strategy known, in points of accuracy."""
    engine = LandscapeEngine(landscape.description, landscape.surrogate, noise=True, seed=seed)
    crew = Simulated(engine, ahead, 1.0, 0.3, seed)
    with WorkersEngine(engine, crew, patience=math.inf) as working:
        env = RecordTrials(PruningEnv(working, target=TARGET), episodes)
        play(POLICIES[policy](seed), env)
    clean = LandscapeEngine(landscape.description, landscape.surrogate)
    best = clean.evaluate(landscape.best[TARGET]).metric
    return 100 * (best - clean.evaluate(env.best.strategy).metric)


def read_points(path: Path) -> dict[tuple[str, int, float], Point]:
    """Return the searches that an earlier call kept, by what was asked."""
    points = [Point(*json.loads(line)) for line in path.read_text().splitlines()]
    return {(point.policy, point.workers, point.seconds): point for point in points}


def print_efficiency(points: Sequence[Point], console: Console) -> None:
    """Print a line for each policy and number of workers, a column for each evaluation time."""
    times = sorted({point.seconds for point in points})
    table = Table(
        "policy",
        "workers",
        "episodes",
        "of them different",
        *(f"{each:g} s" for each in times),
        "driver, ms an episode",
    )
    for policy, workers in dict.fromkeys((point.policy, point.workers) for point in points):
        row = {point.seconds: point for point in points if (point.policy, point.workers) == (policy, workers)}
        first = next(iter(row.values()))
        cells = [f"{100 * row[each].efficiency:.0f}%" if each in row else "" for each in times]
        driver = f"{mean(point.driver_ms for point in row.values()):.1f}"
        table.add_row(policy, str(workers), str(first.episodes), str(first.different), *cells, driver)
    console.print(table)


def draw(points: Sequence[Point], path: Path) -> None:
    """Draw speed-up against workers, a line for each policy, for the longest evaluation time."""
    longest = max(point.seconds for point in points)
    figure = Figure(figsize=(5.0, 3.6), dpi=180, layout="constrained")
    axes = figure.subplots()
    shown = [point for point in points if point.seconds == longest]
    counts = sorted({point.workers for point in shown})
    axes.plot(counts, counts, color="#d9dee4", label="as many times as fast")
    for policy in dict.fromkeys(point.policy for point in shown):
        line = [(point.workers, point.speed_up) for point in shown if point.policy == policy]
        axes.plot(*zip(*line, strict=True), marker="o", markersize=3, label=policy)
    axes.set(xscale="log", yscale="log", xlabel="workers", ylabel="speed-up", title=f"{longest:g} s an evaluation")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(FixedLocator(counts))
        axis.set_major_formatter(FuncFormatter(lambda count, _: f"{count:g}"))
        axis.set_minor_locator(NullLocator())
    axes.legend(fontsize=8)
    figure.savefig(path)


def main(arguments: Sequence[str] | None = None) -> None:
    """Simulate searches and print what came of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--landscape", default="resnet20-cifar10")
    parser.add_argument("--policies", nargs="+", default=list(POLICIES), choices=list(POLICIES))
    parser.add_argument("--workers", nargs="+", type=int, default=[1, 8, 64, 512])
    parser.add_argument("--seconds", nargs="+", type=float, default=[0.1, 1.0, 10.0, 60.0])
    parser.add_argument("--scatter", type=float, default=0.3, help="of the logarithm of an evaluation's time")
    parser.add_argument("--each", type=int, default=16, help="episodes a worker")
    parser.add_argument("--least", type=int, default=64, help="episodes at least")
    parser.add_argument("--most", type=int, default=10**6, help="episodes at most")
    parser.add_argument("--quality", action="store_true", help="print what proposing ahead costs instead")
    parser.add_argument("--episodes", type=int, default=100, help="of --quality")
    parser.add_argument("--seeds", type=int, default=3, help="of --quality")
    parser.add_argument("--picture", type=Path)
    parser.add_argument("--known", type=Path, help="file of searches, of the same other arguments")
    args = parser.parse_args(arguments)
    landscape, console = read_landscape(args.landscape), Console()
    if args.quality:
        table = Table("policy", *(f"{workers} workers" for workers in args.workers))
        found: dict[str, list[float]] = {}
        for policy in args.policies:
            found[policy] = [
                mean(regret(landscape, policy, workers, seed, args.episodes) for seed in range(args.seeds))
                for workers in args.workers
            ]
            table.add_row(policy, *(f"{each:.2f}" for each in found[policy]))
        console.print(table)
        print_json({"workers": args.workers, "episodes": args.episodes, "seeds": args.seeds, "points_behind": found})
        return
    points = []
    known = {} if args.known is None or not args.known.exists() else read_points(args.known)
    for asked in itertools.product(args.policies, args.workers, args.seconds):
        if asked not in known:
            policy, workers, seconds = asked
            known[asked] = simulate(landscape, policy, workers, seconds, args)
            if args.known is not None:
                with args.known.open("a") as file:
                    file.write(json.dumps(known[asked]) + "\n")
        points.append(known[asked])
    print_efficiency(points, console)
    if args.picture is not None:
        draw(points, args.picture)
    at_64 = [point.efficiency for point in points if point.workers == 64 and point.policy in DO_NOT_WAIT]
    print_json({"points": [point._asdict() for point in points], "least_at_64": min(at_64, default=math.nan)})


if __name__ == "__main__":
    main()
