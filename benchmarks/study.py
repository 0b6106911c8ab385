"""Which way of pruning gives the best network in the same time: search and fine-tuning together.

    python -m benchmarks.study --output study                              # 24 cells, 3 budgets, 5 seeds: days
    python -m benchmarks.study --output study --cells resnet20-fashion-0.3 --minutes 2 --seeds 0 1
    python -m benchmarks.study --output study --cell mine model=vgg16 model.width=0.25 data=digits target=0.2

A cell is a network, data and a target on FLOPs. Every method prunes the same dense network and spends what it leaves of
the time on fine-tuning by the same recipe, so that ``uniform`` trains longest; ``torch-pruning`` stands for its global
rankings, one shot. Minutes are of CPU time of one thread, at the pace at which the machine trained when a cell was
begun: it is measured on the way, and counts for no method. The test split is read once a row, at the end. Every row is
a line of ``OUTPUT/CELL.jsonl``, and what is there already is not measured again: what was measured so far is in
``benchmarks/study_records``, to be gone on from with ``--yardstick``; ``--show`` prints what is in a folder. With
``--plan`` networks are pruned and steps are counted, and ``python -m benchmarks.study_on_gpu`` takes them on a GPU. The
last line of the output is JSON.
"""

import argparse
import copy
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from statistics import mean

import numpy as np
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table
from scipy.stats import rankdata

from amc.comparison.statistics import paired
from benchmarks.cells import add_options, chosen
from benchmarks.record import Record, Row, lines_of, without_private
from benchmarks.setting import machine
from benchmarks.study_cell import METHODS, identity, make_cell

NETWORKS: dict[str, tuple[str, ...]] = {
    "plain20-fashion": ("model=plain20", "data=fashion_mnist"),
    "resnet20-fashion": ("model=resnet20", "data=fashion_mnist"),
    "mobilenet-fashion": ("model=mobilenet", "data=fashion_mnist", "model.width=0.5"),
    "mobilenet_v2-fashion": ("model=mobilenet_v2", "data=fashion_mnist", "model.width=0.5"),
    "vgg16-fashion": ("model=vgg16", "data=fashion_mnist", "model.width=0.25"),
    "resnet20-cifar10": ("model=resnet20", "data=cifar10"),
    "plain20-cifar10": ("model=plain20", "data=cifar10"),
    "mobilenet-cifar10": ("model=mobilenet", "data=cifar10", "model.width=0.5"),
}
TARGETS = (0.5, 0.3, 0.15)
CELLS = {f"{name}-{target}": (*keys, f"target={target}") for name, keys in NETWORKS.items() for target in TARGETS}
COLUMNS = 3
"""Panels of the picture beside each other."""
console = Console(stderr=True)


def arguments(given: Sequence[str] | None) -> argparse.Namespace:
    """Parse the options."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.study", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_options(parser, CELLS)
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), default=list(METHODS))
    parser.add_argument("--minutes", type=float, nargs="+", default=[2, 10, 40], help="CPU minutes of a whole method")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument(
        "--yardstick", type=float, help="seconds of it in a cell that minutes are to be as long as; by default measured"
    )
    parser.add_argument("--show", action="store_true", help="print what is in OUTPUT, measure nothing")
    parser.add_argument("--ours", default="amc", help="the method that the others are compared with")
    parser.add_argument("--plan", action="store_true", help="do not fine-tune: benchmarks.study_on_gpu does it")
    return parser.parse_args(given)


def measure(name: str, keys: Sequence[str], args: argparse.Namespace) -> list[Row]:
    """Measure what is missing of a cell, seed by seed so that a stopped study compares all methods, and return it."""
    kind = {"planned": True} if args.plan else {}  # no measurement goes on from a plan
    record = Record(args.output / f"{name}.jsonl", {"keys": without_private(keys)} | kind)
    wanted = list(product(args.minutes, args.seeds, args.methods))
    done = {identity(row) for row in record.rows}
    missing = [each for each in wanted if each not in done]
    reference = record.rows[0]["yardstick"] if record.rows else args.yardstick
    if missing:
        cell = make_cell((*keys, "threads=1"))
        pace = cell.pace(reference)
    for minutes, seed, method in missing:
        pruned = cell.prune(method, minutes, seed, pace)
        row = {"minutes": minutes, "seed": seed, "method": method} | pruned.about
        if not args.plan:
            before = copy.deepcopy(pruned.network)
            pruned.tuner.train_steps(pruned.network, row["steps"])
            row |= {"before": cell.score(before), "test": cell.score(pruned.network)}
        record.add(row)
        console.print(f"{name} {minutes:g} min, seed {seed}, {method}: {row.get('test', 'planned')}")
    return [row for row in record.rows if identity(row) in set(wanted)]


def recorded(args: argparse.Namespace) -> dict[str, list[Row]]:
    """Return what was measured of the cells and minutes asked for, by default of all cells in the folder."""
    paths = {path.stem: path for path in sorted(args.output.glob("*.jsonl"))}
    return {
        name: [row for row in lines_of(paths[name])[1:] if row["minutes"] in args.minutes and "test" in row]
        for name in args.cells or paths
    }


def figures_of(rows: Sequence[Row], ours: str) -> dict[str, dict[str, Row]]:
    """Return by minutes and method the mean accuracy on test, and how far and how surely it is behind ours."""
    by_minutes: dict[float, dict[str, dict[int, Row]]] = defaultdict(lambda: defaultdict(dict))
    for row in rows:
        by_minutes[row["minutes"]][row["method"]][row["seed"]] = row
    return {f"{minutes:g}": _compared(methods, ours) for minutes, methods in sorted(by_minutes.items())}


def _compared(methods: Mapping[str, Mapping[int, Row]], ours: str) -> dict[str, Row]:
    figures = {}
    for method, by_seed in methods.items():
        figures[method] = {
            "test": round(mean(row["test"] for row in by_seed.values()), 4),
            "before": round(mean(row["before"] for row in by_seed.values()), 4),
            "steps": round(mean(row["steps"] for row in by_seed.values())),
            "flops": round(mean(row["flops"] for row in by_seed.values()), 4),
            "seeds": len(by_seed),
        }
        both = sorted(set(by_seed) & set(methods.get(ours, {})))
        if method != ours and both:
            mine, theirs = ([each[seed]["test"] for seed in both] for each in (methods[ours], by_seed))
            against = paired(mine, theirs)
            ahead = sum(one > other for one, other in zip(mine, theirs, strict=True))
            figures[method] |= {"ours_less_this": round(against.difference.mean, 4), "p": against.p}
            figures[method] |= {"pairs": len(both), "pairs_ahead": ahead}
    return figures


def with_holm(cells: Mapping[str, dict[str, dict[str, Row]]]) -> None:
    """Put beside every p value what Holm's correction over all comparisons makes of it, in place.

    References:
        Holm, 1979, "A simple sequentially rejective multiple test procedure".
    """
    rows = [row for cell in cells.values() for methods in cell.values() for row in methods.values()]
    tested = [row for row in rows if row.get("p") is not None]
    largest = 0.0
    for place, row in enumerate(sorted(tested, key=lambda row: row["p"])):
        largest = max(largest, min(1.0, row["p"] * (len(tested) - place)))
        row["p_holm"] = round(largest, 4)


def over_cells(cells: Mapping[str, dict[str, dict[str, Row]]]) -> dict[str, Row]:
    """Return by method in how many cells and budgets ours is ahead of it or behind, by how much, and how surely."""
    compared: dict[str, list[Row]] = defaultdict(list)
    for methods in (methods for cell in cells.values() for methods in cell.values()):
        for name, row in methods.items():
            if "ours_less_this" in row:
                compared[name].append(row)
    return {name: _summary(rows) for name, rows in compared.items()}


def _summary(rows: Sequence[Row]) -> Row:
    leads = [row["ours_less_this"] for row in rows]
    return {
        "ahead": sum(lead > 0 for lead in leads),
        "behind": sum(lead < 0 for lead in leads),
        "of": len(leads),
        "pairs_ahead": sum(row["pairs_ahead"] for row in rows),
        "pairs": sum(row["pairs"] for row in rows),
        "ours_less_this": round(mean(leads), 4),
        "p": paired(leads, [0.0] * len(leads)).p,
    }


def mean_ranks(cells: Mapping[str, dict[str, dict[str, Row]]]) -> dict[str, float]:
    """Return the mean rank over cells and budgets of every method that all of them have, 1 being the best."""
    settings = [methods for cell in cells.values() for methods in cell.values()]
    common = [name for name in METHODS if all(name in methods for methods in settings)]
    ranks = [rankdata([-methods[name]["test"] for name in common]) for methods in settings]
    return dict(zip(common, np.mean(ranks, axis=0).round(2).tolist(), strict=True)) if settings and common else {}


def show(name: str, cell: Mapping[str, dict[str, Row]], ours: str) -> None:
    """Print the figures of a cell."""
    for minutes, methods in cell.items():
        table = Table("method", "test", "before", "steps", "FLOPs", f"{ours} less this", "p", "seeds")
        table.title = f"{name}, {minutes} CPU minutes"
        for method, row in sorted(methods.items(), key=lambda item: -item[1]["test"]):
            gain, p = row.get("ours_less_this"), row.get("p")
            cells = (f"{row['test']:.2%}", f"{row['before']:.2%}", str(row["steps"]), f"{row['flops']:.1%}")
            tests = ("" if gain is None else f"{100 * gain:+.2f}", "" if p is None else f"{p:.3f}", str(row["seeds"]))
            table.add_row(method, *cells, *tests)
        Console(width=120).print(table)


def draw(cells: Mapping[str, dict[str, dict[str, Row]]], path: Path) -> None:
    """Draw accuracy on test against minutes, a panel a cell and a line a method."""
    columns = min(COLUMNS, len(cells))
    rows = -(-len(cells) // columns)
    figure = Figure(figsize=(4 * columns + 3, 3 * rows + 1), layout="constrained")
    panels = iter(figure.subplots(rows, columns, squeeze=False).flat)
    for (name, cell), panel in zip(cells.items(), panels, strict=False):
        for method in METHODS:
            points = [(float(each), methods[method]["test"]) for each, methods in cell.items() if method in methods]
            if points:
                panel.plot(*zip(*points, strict=True), marker="o", label=method)
        panel.set(title=name, xlabel="CPU minutes", ylabel="top-1 on test")
    for panel in panels:  # beyond the last cell
        panel.remove()
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside right upper")
    figure.savefig(path, dpi=120)


def main(given: Sequence[str] | None = None) -> None:
    """Measure what is missing, and print a table a cell and one line of JSON."""
    args = arguments(given)
    if args.show:
        measured = recorded(args)
    else:
        measured = {name: measure(name, keys, args) for name, keys in chosen(args, CELLS).items()}
    if args.plan:
        print(json.dumps({"planned": {name: len(rows) for name, rows in measured.items()}, "machine": machine()}))
        return
    cells = {name: figures_of(rows, args.ours) for name, rows in measured.items()}
    with_holm(cells)
    for name, cell in cells.items():
        show(name, cell, args.ours)
    if not args.show:
        draw(cells, args.output / "minutes.png")
    summary = {"over_cells": over_cells(cells), "mean_ranks": mean_ranks(cells)}
    print(json.dumps({"cells": cells, **summary, "machine": machine()}))


if __name__ == "__main__":
    main()
