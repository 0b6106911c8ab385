"""How long tracing takes, beside torch-pruning's ``DependencyGraph.build_dependency``: the same networks in one run.

    pip install 'amc-search[zoo]'
    python benchmarks/tracing.py --output benchmarks/tracing.md

Tracing is all that happens before a search knows what can go: the network is run and screened, its channels are
grouped, and every group is checked by removing half of it. ``build_dependency`` is its first part; it draws the graph
and checks nothing. A forward pass of the same example input is the measure of both. Every network runs in a process
of its own.
"""

import argparse
import copy
import json
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import torch
import torch_pruning
from rich.console import Console
from rich.table import Table
from setting import print_json
from torch import Tensor, nn
from zoo_networks import IMAGE_SIZES, build, inputs_of

from envs.engine.errors import GraphError, first_line
from envs.engine.network.isolation import copy_network
from envs.engine.pruners.verification import keep_removable
from envs.engine.tracing.graph import trace

PASSES = 3


def seconds_of(work: Callable[[], object]) -> float:
    """Return how long something takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def measure(name: str) -> dict[str, Any]:
    """Time one network."""
    model, images = build(name).eval(), inputs_of(name, 1)
    assert isinstance(images, Tensor)
    with torch.no_grad():
        model(images)  # what torch prepares once
        row: dict[str, Any] = {
            "model": name,
            "forward": median(seconds_of(lambda: model(images)) for _ in range(PASSES)),
        }
    network = copy.deepcopy(model).requires_grad_(True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            row["build"] = seconds_of(lambda: build_dependency(network, images))
    except Exception as error:  # torch-pruning's own errors, of any kind
        row["build_fails"] = first_line(error)
    engine_model = copy_network(model)
    try:
        graphs: list[Any] = []
        row["graph"] = seconds_of(lambda: graphs.append(trace(engine_model, images)))
        row["checks"] = seconds_of(lambda: graphs.append(keep_removable(engine_model, graphs[0], images)))
        row |= {"groups": len(graphs[1].groups), "probed": graphs[1].from_nan_probing}
    except GraphError as error:
        row["refused"] = str(error)
    return row


def build_dependency(network: nn.Module, images: Tensor) -> None:
    """Have torch-pruning draw its graph."""
    torch_pruning.DependencyGraph().build_dependency(network, images, verbose=False)


def apart(name: str, seconds: float) -> dict[str, Any]:
    """Time one network in a process of its own; torch-pruning's graph may not end, and is left out then."""
    command = [sys.executable, __file__, "--one", name]
    try:
        process = subprocess.run(command, capture_output=True, text=True, timeout=seconds)  # noqa: S603  this script
    except subprocess.TimeoutExpired:
        return {"model": name, "refused": f"not done in {seconds:.0f} s"}
    if process.returncode:
        return {"model": name, "refused": (process.stderr.strip().splitlines() or ["?"])[-1]}
    return dict(json.loads(process.stdout.splitlines()[-1]))


COLUMNS: dict[str, Callable[[dict[str, Any]], str]] = {
    "model": lambda row: row["model"],
    "a forward pass": lambda row: _seconds(row, "forward"),
    "build_dependency": lambda row: "fails" if "build_fails" in row else _seconds(row, "build"),
    "screening and groups": lambda row: _seconds(row, "graph"),
    "checks": lambda row: _seconds(row, "checks"),
    "groups by": lambda row: row.get("refused") or ("probing" if row["probed"] else "torch-pruning's graph"),
}


def _seconds(row: dict[str, Any], key: str) -> str:
    return f"{row[key]:.2f}" if key in row else "-"


def markdown(rows: Sequence[dict[str, Any]]) -> str:
    """Return the table as Markdown."""
    lines = ["| " + " | ".join(COLUMNS) + " |", "|---|" + "---:|" * (len(COLUMNS) - 2) + "---|"]
    lines += ["| " + " | ".join(cell(row) for cell in COLUMNS.values()) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def ratios(rows: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Return medians: seconds of tracing over those of ``build_dependency`` and of a forward pass."""
    traced = [row for row in rows if "checks" in row]
    built = [row for row in traced if "build" in row]
    whole = [row["graph"] + row["checks"] for row in traced]
    return {
        "longest_seconds": max(whole),
        "median_seconds": median(whole),
        "over_forward": median((row["graph"] + row["checks"]) / row["forward"] for row in traced),
        "over_build": median((row["graph"] + row["checks"]) / row["build"] for row in built),
        "graph_over_build": median(row["graph"] / row["build"] for row in built),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Time the networks, print a table and one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=IMAGE_SIZES, default=list(IMAGE_SIZES), metavar="LIBRARY/NAME")
    parser.add_argument("--seconds", type=float, default=300, help="limit for one network")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path, help="where to write the table as Markdown")
    parser.add_argument("--rows", type=Path, help="a file of rows: those in it are not timed again, new ones are added")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    args = parser.parse_args(arguments)
    torch.set_num_threads(args.threads)
    if args.one:
        print(json.dumps(measure(args.one)))
        return
    lines = args.rows.read_text().splitlines() if args.rows and args.rows.exists() else []
    finished = {row["model"]: row for row in map(json.loads, lines)}
    rows = []
    for name in args.only:
        rows.append(finished.get(name) or apart(name, args.seconds))
        if args.rows and name not in finished:
            with args.rows.open("a") as file:
                file.write(json.dumps(rows[-1]) + "\n")
    if args.output:
        args.output.write_text(markdown(rows))
    table = Table(*COLUMNS)
    for row in rows:
        table.add_row(*(cell(row) for cell in COLUMNS.values()))
    Console().print(table)
    print_json({"rows": rows, **ratios(rows)})


if __name__ == "__main__":
    main()
