"""What half of the FLOPs and half of the time cost in accuracy: searches for either, fine-tuned and timed in turn.

    python -m benchmarks.latency_searches --output DIR                        # three cells, five seeds
    python -m benchmarks.latency_searches --output DIR --cells resnet20-fashion --seeds 0 1
    python -m benchmarks.latency_searches --output DIR --cells mobilenet-digits --arms "latency, auto"

All searches of a cell prune the same dense network; seeds are of the search and of fine-tuning, and what is compared
has the same one. ``FLOPs as fast`` is a search for FLOPs whose target is moved until what it finds takes the time,
by the table, of what the search for latency found; ``by the clock`` is what was found for latency as a run of
``amc.search`` goes on with it: timed, and cut until it takes the target's share of the dense time. At the end of a seed
its networks are timed in turn in onnxruntime.
The test split is read once a network. Every row is a line of ``OUTPUT/CELL.jsonl``, and what is there already is not
measured again. The last line of the output is JSON. Results: benchmarks/latency.md.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from statistics import mean
from types import MappingProxyType
from typing import NamedTuple

from torch import nn

from amc.comparison.statistics import paired
from amc.config.policies import make_policy
from amc.config.schema import SearchConfig
from amc.run.plan import load_data, make_plan
from amc.run.stage import make_engine
from amc.runtimes.measured_shares import MeasuredShares
from amc.runtimes.prepared import OnnxFiles
from amc.runtimes.profile import LatencySource, Profile
from amc.runtimes.request import bare
from amc.runtimes.timed_runs import time_networks
from amc.store.cache import cache_folder
from amc.training.dense import trained_network
from amc.training.finetune import FineTuner
from amc.training.network_cache import NetworkCache
from benchmarks.cells import add_options, chosen
from benchmarks.record import Record, Row
from benchmarks.setting import machine, make_config
from benchmarks.study_search import on_few_images
from envs.constraint import rescale
from envs.costs.measured_time import fit_to_clock
from envs.engine.torch_engine import TorchEngine
from envs.engine.types import Strategy
from envs.pruning_env import PruningEnv
from envs.search import RecordTrials

FASHION = ("data=fashion_mnist", "episodes=15", "finetune.epochs=0.05", "threads=1")
CELLS = {
    "mobilenet-digits": ("model=mobilenet", "data=digits", "episodes=30", "finetune.epochs=6"),
    "mobilenet-fashion": ("model=mobilenet", "train.epochs=1", *FASHION),
    "resnet20-fashion": ("model=resnet20", "train.epochs=4", *FASHION),
}
BLOCKS = "channel_block"
FAST = 0.55
"""Of the dense time: 1.8 times as fast."""
LATENCY, BY_CLOCK, AS_FAST = "latency, auto", "latency, by the clock", "FLOPs as fast, auto"
FINEST = "FLOPs, round_to=1"
BOTH, BOTH_BY_CLOCK = "FLOPs and latency, auto, blocks too", "FLOPs and latency, blocks too, by the clock"
BATCHES = (1, 32)
TRIES, NEAR = 4, 0.01


class Search(NamedTuple):
    """What is searched for, and what goes.

    Attributes:
        round_to: the steps in which channels go.
        resource: that has the target.
        granularity: channels, or residual blocks as well.
        limits: on other resources.
    """

    round_to: int | str | None
    resource: str
    granularity: str = "channel"
    limits: Mapping[str, float] = MappingProxyType({})


ARMS = {
    FINEST: Search(1, "flops"),
    "FLOPs, default": Search(None, "flops"),
    "FLOPs, auto": Search("auto", "flops"),
    LATENCY: Search("auto", "latency"),
    BY_CLOCK: Search("auto", "latency"),
    AS_FAST: Search("auto", "flops"),
    "FLOPs, auto, blocks too": Search("auto", "flops", BLOCKS),
    BOTH: Search("auto", "flops", BLOCKS, MappingProxyType({"latency": FAST})),
    BOTH_BY_CLOCK: Search("auto", "flops", BLOCKS, MappingProxyType({"latency": FAST})),
}
TIMED = {BY_CLOCK: LATENCY, BOTH_BY_CLOCK: BOTH}
"""What was found by another search, and is cut or grown until it takes the share of time that was asked for."""


def _with_blocks(search: Search) -> Search:
    return search._replace(granularity=BLOCKS) if search.round_to == "auto" else search


class Cell:
    """A dense network, and what searches make of it.

    Args:
        keys: of its configuration.
        blocks: whether residual blocks may go in every search that channels go in steps that the table likes.
    """

    def __init__(self, keys: Sequence[str], *, blocks: bool = False) -> None:
        self.arms = {name: _with_blocks(search) for name, search in ARMS.items()} if blocks else ARMS
        self.cfg: SearchConfig = make_config(*keys)
        self.data = load_data(self.cfg)
        self.dense = trained_network(self.cfg, self.data)
        profile = Profile("onnxruntime-cpu", 1, 1, None, cache_folder(self.cfg.cache_dir) / "latency")
        self.plan = on_few_images(make_plan(self.cfg, self.data, LatencySource(profile)))
        self._engines: dict[tuple[int | str | None, str], TorchEngine] = {}
        self.engine(self.arms[LATENCY])  # the table is fitted to networks of the counts that its searches choose from

    @cached_property
    def test(self) -> float:
        """How good the dense network is on test."""
        return self.data.scorer(self.data.splits.test)(self.dense).metric

    def engine(self, search: Search) -> TorchEngine:
        """Return the engine of a rounding and granularity, with the cell's table of latencies."""
        key = (search.round_to, search.granularity)
        if key not in self._engines:
            engine = replace(self.plan.engine, round_to=search.round_to, granularity=search.granularity)
            self._engines[key] = make_engine(replace(self.plan, engine=engine), self.dense)
        return self._engines[key]

    def measure(self, arm: str, seed: int, before: Mapping[str, Row]) -> Row:
        """Search, fine-tune and score; ``before`` are the seed's rows of the arms before this one."""
        search = self.arms[arm]
        engine = self.engine(search)
        if arm == AS_FAST:
            target, strategy = self._as_fast(engine, seed, before[LATENCY]["ms"])
        elif arm in TIMED:
            target = dict(search.limits).get("latency", self.cfg.target)
            strategy = self._by_clock(engine, before[TIMED[arm]]["kept"], target)
        else:
            target, strategy = self.cfg.target, self._best(engine, search, self.cfg.target, seed)
        cache = NetworkCache(cache_folder(self.cfg.cache_dir) / "finetuned", "latency-searches")
        tuner = FineTuner(self.cfg.finetune, self.cfg.train, self.data, self.plan.score, seed, self.dense, cache)
        tuned = tuner.tune(engine, strategy, arm)
        cost, dense = engine.cost(strategy), engine.cost(engine.dense_strategy)
        return {
            "target": target,
            "kept": engine.kept(strategy),
            "flops": cost.flops / dense.flops,
            "ms": 1000 * (cost.latency or 0.0),
            "share": (cost.latency or 0.0) / (dense.latency or 1.0),
            "test": self.data.scorer(self.data.splits.test)(tuned.model).metric,
        }

    def _best(self, engine: TorchEngine, search: Search, target: float, seed: int) -> Strategy:
        limits = dict(search.limits)
        problem = PruningEnv(
            engine, reward=self.plan.problem.reward, resource=search.resource, target=target, limits=limits
        )
        env = RecordTrials(problem, self.cfg.episodes)
        make_policy("amc", seed).search(env)
        return env.best.strategy

    def _by_clock(self, engine: TorchEngine, kept: Sequence[int], target: float) -> Strategy:
        """Return the version of a strategy that takes a share of the dense time, as measured."""
        strategy = tuple(count / layer.units for count, layer in zip(kept, engine.layers, strict=True))
        budget = PruningEnv(engine, resource="latency", target=target).budget
        example = self.data.inputs(self.data.splits.search.images[:1])
        assert self.plan.latency is not None
        shares = MeasuredShares(self.plan.latency.profile, engine, example, self.cfg.latency.rounds)
        chosen, _ = fit_to_clock(
            strategy,
            lambda budget: rescale(budget, strategy),
            budget,
            target,
            lambda versions: shares.of(engine, list(map(engine.kept, versions))),
        )
        return chosen.strategy

    def _as_fast(self, engine: TorchEngine, seed: int, milliseconds: float) -> tuple[float, Strategy]:
        """Return the target on FLOPs, and what is found with it, that comes nearest to a time by the table."""
        low, high, target = 0.05, 1.0, self.cfg.target
        found: list[tuple[float, float, Strategy]] = []
        for _ in range(TRIES):
            strategy = self._best(engine, self.arms[AS_FAST], target, seed)
            off = 1000 * (engine.cost(strategy).latency or 0.0) / milliseconds - 1
            found.append((abs(off), target, strategy))
            if abs(off) < NEAR:
                break
            low, high = (low, target) if off > 0 else (target, high)
            # Time falls with FLOPs in proportion at best.
            target = min(max(target * (1 - off), 0.9 * low + 0.1 * high), 0.1 * low + 0.9 * high)
        _, target, strategy = min(found)
        return target, strategy

    def time(self, rows: Sequence[Row]) -> dict[str, list[list[float]]]:
        """Time the networks of some rows in turn.

        Returns:
            By arm and batch how many times as fast as dense it is, with the ends of its interval.
        """
        example = self.data.inputs(self.data.splits.search.images[:1])
        first = self.engine(self.arms[FINEST])
        networks: dict[str, nn.Module] = {"dense": first.pruner.for_inference(first.model)}
        networks |= {row["arm"]: bare(self.engine(self.arms[row["arm"]]), row["kept"]) for row in rows}
        files = OnnxFiles(networks["dense"], example)
        times = time_networks("onnxruntime-cpu", networks, example, files, batches=BATCHES, seconds=10)
        return {
            arm: [[row.speedup, row.speedup_low, row.speedup_high] for row in times if row.network == arm]
            for arm in networks
        }


def measure(name: str, keys: Sequence[str], args: argparse.Namespace) -> list[Row]:
    """Measure what is missing of a cell, seed by seed, and return a row an arm and seed."""
    record = Record(args.output / f"{name}.jsonl", {"keys": list(keys)} | ({"blocks": True} if args.blocks else {}))
    cell: Cell | None = None
    for seed in args.seeds:
        rows = {row["arm"]: row for row in record.rows if row["seed"] == seed}
        if "times" in rows:
            continue
        cell = cell or Cell(keys, blocks=args.blocks)
        for arm in args.arms:
            if arm not in rows:
                rows[arm] = {"seed": seed, "arm": arm, "dense": cell.test} | cell.measure(arm, seed, rows)
                record.add(rows[arm])
                print(f"{name}, seed {seed}, {arm}: {rows[arm]['flops']:.1%}, {rows[arm]['test']:.2%}", flush=True)
        record.add({"seed": seed, "arm": "times", "speedups": cell.time(list(rows.values()))})
    times = {row["seed"]: row["speedups"] for row in record.rows if row["arm"] == "times"}
    rows_of = [row for row in record.rows if row["arm"] != "times" and row["seed"] in args.seeds]
    return [row | {"speedups": times[row["seed"]][row["arm"]]} for row in rows_of]


def summary(name: str, rows: Sequence[Row]) -> Row:
    """Print a table of a cell, and return its figures."""
    by_arm = {
        arm: sorted((row for row in rows if row["arm"] == arm), key=lambda row: row["seed"])
        for arm in ARMS
        if any(row["arm"] == arm for row in rows)
    }
    finest = [row["test"] for row in by_arm.get(FINEST, [])]
    figures: Row = {"dense": rows[0]["dense"]}
    print(f"| {name} | FLOPs kept | batch 1 | batch 32 | top-1 on test | less round_to=1, points |")
    for arm, some in by_arm.items():
        fast = [[row["speedups"][place][0] for row in some] for place in range(len(BATCHES))]
        less = ""
        if finest:
            gain = paired([100 * row["test"] for row in some], [100 * each for each in finest]).difference
            less = f"{gain.mean:+.2f}" + ("" if gain.low is None else f" ({gain.low:+.2f} to {gain.high:+.2f})")
        flops, test = (mean(row[key] for row in some) for key in ("flops", "test"))
        one, many = map(mean, fast)
        ends = [f"{low:.2f}-{high:.2f}" for low, high in ((min(each), max(each)) for each in fast)]
        print(f"| {arm} | {flops:.1%} | {one:.2f}x ({ends[0]}) | {many:.2f}x ({ends[1]}) | {test:.2%} | {less} |")
        measured = [1 / each for each in fast[0]]
        ends_of = {"least": min(measured), "most": max(measured)}
        shares = {"predicted": mean(row["share"] for row in some), "measured": mean(measured), **ends_of}
        figures[arm] = {"flops": flops, "batch_1": one, "batch_32": many, "test": test, **shares}
        figures[arm] = {key: round(value, 4) for key, value in figures[arm].items()}
    if AS_FAST not in by_arm:
        return figures
    against = paired([row["test"] for row in by_arm[LATENCY]], [row["test"] for row in by_arm[AS_FAST]])
    return figures | {"latency_less_as_fast": against.difference._asdict(), "p": against.p}


def main() -> None:
    """Measure what the command line asks for, and print the tables and a line of JSON."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.latency_searches",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_options(parser, CELLS)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--arms", nargs="+", choices=list(ARMS), default=list(ARMS), help="searches; all by default")
    parser.add_argument("--blocks", action="store_true", help="let residual blocks go where round_to=auto")
    args = parser.parse_args()
    found = {name: summary(name, measure(name, keys, args)) for name, keys in chosen(args, CELLS).items()}
    print(json.dumps(found | {"machine": machine()}))


if __name__ == "__main__":
    main()
