r"""How pruned networks are best fine-tuned: uniform ratios on one network, one row a variant and seed.

    python benchmarks/finetuning.py --steps 100 --seeds 0 1 2 --variants lr_factor=0.1 distill=0 --record rows.jsonl \
        -- model=resnet20 data=fashion_mnist train.epochs=3 target=0.3

A variant is made of fields of ``amc.config.recipe``: ``lr_factor``, ``distill``, ``temperature``, ``warm_up``,
``weight_decay``, ``momentum``, ``batch_size``; what it leaves out is the default. The keys behind ``--`` are those of
``amc.search``. Top-1 is that of the search split, which is cut from train. Rows go to a file as they come, and those
that are there are not computed again. With ``--halving N`` it trains the best N of 3 N random strategies instead, once
each, and says how well their ranks at ``--marks`` are those in the end. The last line is JSON.
"""

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path
from statistics import mean, stdev
from time import process_time
from typing import Any

from setting import make_config
from torch import nn

from amc.config.recipe import Finetuning, Recipe
from amc.run.plan import load_data, make_plan
from amc.run.stage import Stage, whole_run
from amc.seeding import seed_everything
from amc.training.choice import best_trials
from amc.training.dense import trained_network
from amc.training.distillation import Distillation
from amc.training.finetune import finetuning_recipe
from amc.training.sgd import Fitting
from amc.zoo.data.device_data import DeviceData
from baselines.random_search import RandomSearch
from baselines.uniform import uniform_trial
from envs.engine.scoring.top1 import Top1Scorer
from envs.engine.types import Strategy
from envs.search import RecordTrials

Row = dict[str, Any]


@dataclass(frozen=True)
class Bench:
    """What is fine-tuned on."""

    stage: Stage
    data: DeviceData
    score: Top1Scorer
    training: Recipe
    settings: Finetuning


def arguments() -> tuple[argparse.Namespace, list[str]]:
    """Parse the options; the rest are keys of the configuration."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--steps", type=int, default=100, help="steps of fine-tuning")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--variants", nargs="+", default=[""], help="settings that differ from the defaults")
    parser.add_argument("--halving", type=int, default=0, help="random strategies to rank on the way instead")
    parser.add_argument("--marks", type=int, nargs="+", default=[], help="steps at which networks are scored as well")
    parser.add_argument("--record", type=Path, required=True, help="where rows are kept")
    return parser.parse_known_args()


def make_bench(keys: list[str]) -> Bench:
    """Set up as a run with the same keys does."""
    cfg = make_config("model=resnet20", "data=fashion_mnist", *keys)
    data = load_data(cfg)
    plan = make_plan(cfg, data)
    return Bench(whole_run(plan, trained_network(cfg, data)), data, plan.score, cfg.train, cfg.finetune)


def settings_of(bench: Bench, variant: str, steps: int) -> tuple[Recipe, Finetuning]:
    """Return the recipe and the settings of a variant."""
    pairs = (pair.split("=") for pair in variant.split(",") if pair)
    given = {name: int(value) if name == "batch_size" else float(value) for name, value in pairs}
    known = {field.name for field in fields(Finetuning)}
    chosen: dict[str, Any] = {name: value for name, value in given.items() if name in known}
    settings = replace(bench.settings, **chosen)
    training: dict[str, Any] = {name: value for name, value in given.items() if name not in known}
    recipe = replace(finetuning_recipe(bench.training, settings), **training)
    epochs = steps / (len(bench.data.splits.train.labels) // recipe.batch_size)
    return replace(recipe, epochs=epochs), settings


def train(bench: Bench, strategy: Strategy, variant: str, steps: int, seed: int, marks: list[int]) -> Row:
    """Prune and fine-tune; return what came of it."""
    recipe, settings = settings_of(bench, variant, steps)
    model: nn.Module = bench.stage.engine.prune(strategy)
    teacher = Distillation(bench.stage.network, settings.distill, settings.temperature) if settings.distill else None
    row: Row = {"variant": variant, "steps": steps, "seed": seed, "before": bench.score(model)._asdict()}
    seed_everything(seed)
    start = process_time()
    fitting = Fitting(model, bench.data.splits, recipe, seed, str(bench.data.device), teacher)
    seconds = 0.0
    for mark in [*(mark for mark in sorted(marks) if mark < steps), steps]:
        start = process_time()
        fitting.advance(mark)
        seconds += process_time() - start
        row[f"after{mark}"] = bench.score(model)._asdict()
    return row | {"after": row[f"after{steps}"], "seconds": round(seconds, 1)}


def jobs(bench: Bench, options: argparse.Namespace) -> Iterator[tuple[Row, Strategy]]:
    """Yield what is to be done: how it is known among the rows, and the strategy."""
    if options.halving:
        env = RecordTrials(bench.stage.problem, 3 * options.halving)
        RandomSearch(seed=options.seeds[0]).search(env)
        for trial in best_trials(env.trials, options.halving):
            about = {"variant": options.variants[0], "seed": options.seeds[0], "strategy": trial.index}
            yield about | {"trial": trial.evaluation._asdict()}, trial.strategy
    strategy = uniform_trial(bench.stage.problem).strategy
    for variant in options.variants if not options.halving else options.variants[:1]:
        for seed in options.seeds:
            yield {"variant": variant, "seed": seed, "strategy": "uniform"}, strategy


def rows_of(path: Path) -> list[Row]:
    """Return the rows there are."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def same(row: Row, about: Row) -> bool:
    """Tell whether a row is of a job."""
    return all(row.get(name) == value for name, value in about.items() if name != "trial")


def main() -> None:
    """Do what is not done yet, and print a table."""
    options, keys = arguments()
    keys = [key for key in keys if key != "--"]
    bench = make_bench(keys)
    dense = bench.score(bench.stage.network).metric
    for about, strategy in jobs(bench, options):
        known = about | {"keys": keys, "steps": options.steps}
        if any(same(row, known) for row in rows_of(options.record)):
            continue
        row = known | train(bench, strategy, about["variant"], options.steps, about["seed"], options.marks)
        with options.record.open("a") as file:
            file.write(json.dumps(row) + "\n")
        print(about["strategy"], about["variant"], about["seed"], round(row["after"]["metric"], 4), flush=True)
    summary = {"keys": keys, "steps": options.steps, "dense": dense, "variants": {}}
    for variant in options.variants:
        mine = [row for row in rows_of(options.record) if same(row, {"variant": variant, "strategy": "uniform"})]
        found = [row["after"]["metric"] for row in mine if row["keys"] == keys and row["steps"] == options.steps]
        summary["variants"][variant] = {"mean": mean(found), "sd": stdev(found) if len(found) > 1 else None}
        print(f"| {variant or 'default'} | {mean(found):.2%} | {len(found)} |")
    print(json.dumps(summary))


if __name__ == "__main__":
    main()
