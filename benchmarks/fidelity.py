"""How well a reward ranks strategies by what fine-tuning makes of them, and what it costs.

    python -m benchmarks.fidelity --output fidelity                               # six cells: hours on 2 cores
    python -m benchmarks.fidelity --output fidelity --cells resnet20-cifar10
    python -m benchmarks.fidelity --output fidelity --cell mine model=vgg16 model.width=0.25 data=digits target=0.2

A cell is a network, data and a target. Every strategy of a cell is scored by every reward, then fine-tuned by
distillation from the dense network; its truth is accuracy on images that were cut from the training images for
that alone. Each strategy is one line of ``OUTPUT/CELL.jsonl``; what is there already is not measured again. The last
line of the output is JSON. Rank correlations are Spearman's, with 95% bootstrap intervals over strategies; the better
half is that of the strategies that were best after fine-tuning.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.cells import add_options, chosen
from benchmarks.fidelity_cell import Training, make_cell
from benchmarks.fidelity_strategies import draw
from benchmarks.rank_correlation import Values, interval, ranking, resampled
from benchmarks.record import Record, Row
from benchmarks.setting import machine

CELLS: dict[str, tuple[str, ...]] = {
    "resnet20-cifar10": ("model=resnet20", "data=cifar10", "target=0.3"),
    "plain20-cifar10": ("model=plain20", "data=cifar10", "target=0.3"),
    "mobilenet-cifar10": ("model=mobilenet", "data=cifar10", "model.width=0.5", "target=0.2"),
    "resnet20-fashion": ("model=resnet20", "data=fashion_mnist", "target=0.2"),
    "mobilenet_v2-fashion": ("model=mobilenet_v2", "data=fashion_mnist", "model.width=0.5", "target=0.2"),
    "vgg16-fashion": ("model=vgg16", "data=fashion_mnist", "model.width=0.25", "target=0.15"),
}
REPAIRS = {"without batch norm pass": ("adaptive_bn=0",)}
SEARCH = "data.search=10000"
console = Console(stderr=True)


def arguments(given: Sequence[str] | None) -> argparse.Namespace:
    """Parse the options."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.fidelity", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_options(parser, CELLS)
    parser.add_argument("--strategies", type=int, default=40, help="a cell")
    parser.add_argument("--steps", type=int, default=200, help="of fine-tuning")
    parser.add_argument("--short", type=int, default=20, help="steps before scoring, for rewards that train first")
    parser.add_argument("--learns-from", nargs="*", choices=["plain", "distilled"], default=["plain", "distilled"])
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument(
        "--repair", nargs="*", action="append", help="a name and KEY=VALUE ...: another repair; alone for none"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the strategies")
    parser.add_argument("--finetune-seeds", type=int, nargs="+", default=[0], help="the mean over them is the truth")
    return parser.parse_args(given)


def measure(name: str, keys: Sequence[str], args: argparse.Namespace) -> list[Row]:
    """Measure the strategies of a cell that are not measured yet, and return the lines of all."""
    training = Training(args.steps, args.short, args.batch_size, tuple(args.learns_from), tuple(args.finetune_seeds))
    repairs = REPAIRS if args.repair is None else {given[0]: tuple(given[1:]) for given in args.repair if given}
    settings = {"keys": list(keys), "training": asdict(training), "repairs": repairs, "seed": args.seed}
    record = Record(args.output / f"{name}.jsonl", json.loads(json.dumps(settings)))
    if len(record.rows) < args.strategies:
        cell = make_cell(keys, repairs)
        drawn = draw(cell.problem, args.strategies, args.seed)
        for number, (source, strategy) in enumerate(drawn[len(record.rows) :], len(record.rows)):
            kept = cell.problem.budget.usage(strategy) / cell.problem.budget.limit
            about = {"strategy": number, "source": source, "of_limit": round(kept, 4), "keep": strategy}
            record.add(about | cell.measure(strategy, training))
            row = record.rows[-1]
            console.print(
                f"{name} {number + 1}/{args.strategies} {source}: {row['rewards']['accuracy']:.4f} {row['after']}"
            )
    return record.rows[: args.strategies]


def figures_of(rows: Sequence[Row], seed: int) -> tuple[dict[str, Row], dict[str, Values]]:
    """Return the figures of every reward of a cell, and the resampled correlations behind their intervals."""
    after = np.array([np.mean(row["after"]) for row in rows])
    columns = {name: np.array([row["rewards"][name] for row in rows]) for name in rows[0]["rewards"]}
    samples = {name: resampled(reward, after, seed) for name, reward in columns.items()}
    figures = {
        name: ranked(ranking(reward, after), samples[name], samples["accuracy"])
        | {"seconds": round(float(np.median([row["seconds"][name] for row in rows])), 3)}
        for name, reward in columns.items()
    }
    return figures, samples


def ranked(mean: Sequence[float], samples: Values, rival: Values) -> Row:
    """Return correlations over all and in the better half with intervals, and that of the gain over accuracy's."""
    figures: Row = {}
    for column, name in enumerate(("all", "half")):
        figures[name] = round(float(mean[column]), 3)
        figures[f"{name}_interval"] = interval(samples[:, column])
        figures[f"{name}_over_accuracy_interval"] = interval(samples[:, column] - rival[:, column])
    return figures


def mean_of(cells: Mapping[str, dict[str, Row]], samples: Mapping[str, dict[str, Values]]) -> dict[str, Row]:
    """Return the mean over cells of every reward that all of them have."""
    common = [name for name in next(iter(cells.values())) if all(name in cell for cell in cells.values())]
    means = {name: np.mean([cell[name] for cell in samples.values()], axis=0) for name in common}
    return {
        name: ranked(
            [np.mean([cell[name][of] for cell in cells.values()]) for of in ("all", "half")],
            means[name],
            means["accuracy"],
        )
        for name in common
    }


def show(title: str, figures: Mapping[str, Row]) -> None:
    """Print the figures of a cell as a table."""
    table = Table("reward", "all", "better half", "half less accuracy's", "CPU seconds", title=title)
    for name, row in figures.items():
        spans = [f"{bounds[0]:.2f} to {bounds[1]:.2f}" for bounds in (row["all_interval"], row["half_interval"])]
        gain = "{:+.2f} to {:+.2f}".format(*row["half_over_accuracy_interval"])
        cost = str(row.get("seconds", ""))
        table.add_row(name, f"{row['all']:.2f} ({spans[0]})", f"{row['half']:.2f} ({spans[1]})", gain, cost)
    Console(width=160).print(table)


def main(given: Sequence[str] | None = None) -> None:
    """Measure what is missing, and print a table a cell and one line of JSON."""
    args = arguments(given)
    wanted = chosen(args, {name: (*keys, SEARCH) for name, keys in CELLS.items()})
    cells: dict[str, dict[str, Row]] = {}
    samples: dict[str, dict[str, Values]] = {}
    for name, keys in wanted.items():
        rows = measure(name, keys, args)
        cells[name], samples[name] = figures_of(rows, len(cells))
        after = [float(np.mean(row["after"])) for row in rows]
        show(f"{name}: {len(rows)} strategies, {min(after):.4f} to {max(after):.4f} after fine-tuning", cells[name])
    mean = mean_of(cells, samples)
    if len(cells) > 1:
        show(f"mean of {len(cells)} cells", mean)
    print(json.dumps({"cells": cells, "mean": mean, "machine": machine()}))


if __name__ == "__main__":
    main()
