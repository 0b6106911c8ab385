"""How long tracing takes, beside torch-pruning's ``DependencyGraph.build_dependency``: the same networks in one run.

    pip install 'amc-search[zoo]'
    python benchmarks/tracing.py --output benchmarks/tracing.md

Tracing is all that happens before a search knows what can go: the network is run and screened, its channels are
grouped, and every group is checked by removing half of it. ``build_dependency`` is its first part; it draws the graph
and checks nothing. A forward pass of the same example input is the measure of both. Every network runs in a process
of its own.
"""

import copy
import json
import time
import warnings
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

import torch
import torch_pruning
from networks_apart import Columns, read_arguments, rows_of, show
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


COLUMNS: Columns = {
    "model": lambda row: row["model"],
    "a forward pass": lambda row: _seconds(row, "forward"),
    "build_dependency": lambda row: "fails" if "build_fails" in row else _seconds(row, "build"),
    "screening and groups": lambda row: _seconds(row, "graph"),
    "checks": lambda row: _seconds(row, "checks"),
    "groups by": lambda row: row.get("refused") or ("probing" if row["probed"] else "torch-pruning's graph"),
}


def _seconds(row: dict[str, Any], key: str) -> str:
    return f"{row[key]:.2f}" if key in row else "-"


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
    asked = read_arguments(__doc__, list(IMAGE_SIZES), 300, arguments)
    torch.set_num_threads(asked.threads)
    if asked.one:
        print(json.dumps(measure(asked.one)))
        return
    rows = rows_of(__file__, asked, lambda name, reason: {"model": name, "refused": reason}, lambda _: None)
    show(rows, COLUMNS, "|---|" + "---:|" * (len(COLUMNS) - 2) + "---|", asked.output)
    print_json({"rows": rows, **ratios(rows)})


if __name__ == "__main__":
    main()
