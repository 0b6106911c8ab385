"""How much of the gap between uniform ratios and the optimum each policy closes on the network in closed form.

    python -m benchmarks.analytic_policies --jobs 4

Every policy of conf/policy, and every sampler of Optuna, plays under both constraints with its default settings. The
gap runs from 0, the uniform ratios under the same constraint, to 1, the exact optimum. The last line is JSON.

``reconstruction`` is told the very errors of this network there, which no real one knows: its figure shows what the
greedy removal is worth, not what the policy finds.
"""

import argparse
import json
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import product
from multiprocessing import get_context
from statistics import mean, stdev
from time import perf_counter
from typing import NamedTuple

import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf

from amc.config.conf_folder import CONF
from baselines.optuna_search import SAMPLERS
from baselines.uniform import Uniform
from envs.engine.analytic import AnalyticEngine
from envs.pruning_env import PruningEnv
from envs.search import RecordTrials, SearchPolicy

TARGET = 0.5
CONSTRAINTS = ("rescale", "bound")


class Cell(NamedTuple):
    """One search: ``policy`` is a file of conf/policy, with ``-sampler`` behind it where there are several."""

    policy: str
    constraint: str
    seed: int
    episodes: int


class Outcome(NamedTuple):
    """The share of the gap that a search closed, and how long it took."""

    gap: float
    seconds: float


def policies() -> Iterator[str]:
    """Yield the name of every policy that there is."""
    for path in sorted((CONF / "policy").glob("*.yaml")):
        several = "sampler" in OmegaConf.load(path)
        yield from (f"{path.stem}-{sampler}" for sampler in SAMPLERS) if several else (path.stem,)


def make_policy(name: str, seed: int) -> SearchPolicy:
    """Build a policy with the settings of its file, but that starts at random: here least error is the optimum."""
    stem, _, sampler = name.partition("-")
    chosen = OmegaConf.load(CONF / "policy" / f"{stem}.yaml")
    settings = OmegaConf.create({"seed": seed, "policy": OmegaConf.select(chosen, "policy", default=chosen)}).policy
    changed = ({"sampler": sampler} if sampler else {}) | ({"start": "random"} if "start" in settings else {})
    policy: SearchPolicy = instantiate(settings, **changed)
    return policy


def refuses(policy: str, constraint: str) -> bool:
    """Tell whether a policy cannot work here: the front needs networks smaller than the target, scores need units."""
    return (policy == "pareto" and constraint == "rescale") or policy == "global_threshold"


def play(policy: SearchPolicy, constraint: str, episodes: int) -> float:
    """Return the best metric that a policy finds."""
    env = RecordTrials(PruningEnv(AnalyticEngine(), target=TARGET, constraint=constraint), episodes)
    policy.search(env)
    return env.best.evaluation.metric


def measure(cell: Cell) -> Outcome:
    """Play one search with one thread."""
    torch.set_num_threads(1)
    start = perf_counter()
    found = play(make_policy(cell.policy, cell.seed), cell.constraint, cell.episodes)
    seconds = perf_counter() - start
    uniform, optimum = play(Uniform(), cell.constraint, 1), AnalyticEngine().optimum(TARGET).metric
    return Outcome((found - uniform) / (optimum - uniform), seconds)


def row(policy: str, constraint: str, outcomes: list[Outcome]) -> str:
    """Return a line of the table."""
    gaps = [outcome.gap for outcome in outcomes]
    spread = stdev(gaps) if len(gaps) > 1 else 0.0
    each = " ".join(f"{gap:.2f}" for gap in gaps)
    seconds = mean(outcome.seconds for outcome in outcomes)
    return f"| {policy} | {constraint} | {mean(gaps):.3f} | {spread:.3f} | {each} | {seconds:.1f} |"


def main() -> None:
    """Play all searches, and print the table and the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--policies", nargs="+", choices=list(policies()), default=list(policies()))
    parser.add_argument("--episodes", type=int, default=150)
    parser.add_argument("--seeds", type=int, default=5, help="how many, counted from 0")
    parser.add_argument("--jobs", type=int, default=1, help="searches played at a time")
    args = parser.parse_args()
    print("| policy | constraint | gap closed | deviation | each seed | seconds a search |")
    print("|---|---|---:|---:|---|---:|")
    gaps: dict[str, dict[str, list[float]]] = {}
    with ProcessPoolExecutor(args.jobs, mp_context=get_context("spawn")) as pool:
        rows = [pair for pair in product(args.policies, CONSTRAINTS) if not refuses(*pair)]
        cells = [[Cell(*pair, seed, args.episodes) for seed in range(args.seeds)] for pair in rows]
        waiting = [[pool.submit(measure, cell) for cell in group] for group in cells]
        for (policy, constraint), group in zip(rows, waiting, strict=True):
            outcomes = [future.result() for future in group]
            print(row(policy, constraint, outcomes), flush=True)
            gaps.setdefault(policy, {})[constraint] = [round(outcome.gap, 4) for outcome in outcomes]
    print(json.dumps({"episodes": args.episodes, "target": TARGET, "seeds": args.seeds, "gap_closed": gaps}))


if __name__ == "__main__":
    main()
