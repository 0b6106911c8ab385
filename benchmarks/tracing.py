"""How long tracing takes, beside torch-pruning's ``DependencyGraph.build_dependency``: the same networks in one run.

    pip install 'amc-search[zoo]'
    python benchmarks/tracing.py --output benchmarks/tracing.md

Tracing is all that happens before a search knows what can go: the network is run and screened, its channels are
grouped, and every group is checked by removing half of it. ``build_dependency`` is its first part: it runs the network
once, draws the graph, and says neither what goes together nor whether that is right. What goes together says
``get_all_groups``, which has to end within ``GROUPS_SECONDS``. A forward pass of the same example input is the measure
of all. Seconds are the processor's, so that other work on the machine disturbs them less; ``build_dependency`` and
tracing are each run once before they are timed, and objects of the libraries are kept out of garbage collection, which
would otherwise fall to one or the other by chance. Every network runs in a process of its own.
"""

import copy
import gc
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
from torch import nn
from zoo_networks import NETWORKS, build, inputs_of

from envs.engine.errors import GraphError, first_line
from envs.engine.network.calls import Inputs, forward
from envs.engine.network.isolation import copy_network
from envs.engine.network.time_limit import TimeIsUp, time_limit
from envs.engine.pruners.verification import keep_removable
from envs.engine.tracing.graph import trace

PASSES = 3
GROUPS_SECONDS = 10.0


def seconds_of(work: Callable[[], object]) -> float:
    """Return how long something takes."""
    started = time.process_time()
    work()
    return time.process_time() - started


def measure(name: str) -> dict[str, Any]:
    """Time one network."""
    model, inputs = build(name).eval(), inputs_of(name, 1)
    with torch.no_grad():
        forward(model, inputs)  # what torch prepares once
        row: dict[str, Any] = {
            "model": name,
            "forward": median(seconds_of(lambda: forward(model, inputs)) for _ in range(PASSES)),
        }
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            _built(model, inputs)
            gc.collect()
            gc.freeze()
            row["build"] = median(_built(model, inputs)[1] for _ in range(PASSES))
            graph = _built(model, inputs)[0]
            with time_limit(GROUPS_SECONDS):
                row["all_groups"] = row["build"] + seconds_of(lambda: list(graph.get_all_groups()))
    except (Exception, TimeIsUp) as error:  # torch-pruning's own errors, of any kind
        row["build_fails"] = first_line(error) or f"not within {GROUPS_SECONDS:.0f} s"
    engine_model = copy_network(model)
    try:
        for _ in range(2):
            gc.collect()
            gc.freeze()
            row |= _traced(engine_model, inputs)
    except GraphError as error:
        row["refused"] = str(error)
    return row


def _built(model: nn.Module, inputs: Inputs) -> tuple[torch_pruning.DependencyGraph, float]:
    """Return torch-pruning's graph, and how long it took: of a copy, as its hooks stay behind when it fails."""
    network, graph = copy.deepcopy(model).requires_grad_(True), torch_pruning.DependencyGraph()
    return graph, seconds_of(lambda: graph.build_dependency(network, inputs, verbose=False))


def _traced(model: nn.Module, inputs: Inputs) -> dict[str, Any]:
    """Return how long tracing took, and what it found."""
    graphs: list[Any] = []
    graph = seconds_of(lambda: graphs.append(trace(model, inputs)))
    checks = seconds_of(lambda: graphs.append(keep_removable(model, graphs[0], inputs)))
    return {"graph": graph, "checks": checks, "groups": len(graphs[1].groups), "found_by": graphs[1].found_by.value}


COLUMNS: Columns = {
    "model": lambda row: row["model"],
    "a forward pass": lambda row: _seconds(row, "forward"),
    "build_dependency": lambda row: _seconds(row, "build", "fails"),
    "and get_all_groups": lambda row: _seconds(row, "all_groups", "fails"),
    "screening and groups": lambda row: _seconds(row, "graph"),
    "checks": lambda row: _seconds(row, "checks"),
    "both over build_dependency": lambda row: _over(row, "build"),
    "build_dependency in forward passes": lambda row: f"{row['build'] / row['forward']:.1f}" if "build" in row else "-",
    "groups by": lambda row: row.get("refused") or row["found_by"],
}


def _seconds(row: dict[str, Any], key: str, otherwise: str = "-") -> str:
    return f"{row[key]:.2f}" if key in row else otherwise


def _over(row: dict[str, Any], key: str) -> str:
    return f"{(row['graph'] + row['checks']) / row[key]:.1f}" if key in row and "checks" in row else "-"


def ratios(rows: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Return medians: seconds of tracing over those of ``build_dependency`` and of a forward pass."""
    traced = [row for row in rows if "checks" in row]
    built = [row for row in traced if "build" in row]
    grouped = [row for row in traced if "all_groups" in row]
    whole = [row["graph"] + row["checks"] for row in traced]
    return {
        "longest_seconds": max(whole),
        "median_seconds": median(whole),
        "over_forward": median((row["graph"] + row["checks"]) / row["forward"] for row in traced),
        "over_build": median((row["graph"] + row["checks"]) / row["build"] for row in built),
        "over_all_groups": median((row["graph"] + row["checks"]) / row["all_groups"] for row in grouped),
        "build_over_forward": median(row["build"] / row["forward"] for row in built),
        "graph_over_build": median(row["graph"] / row["build"] for row in built),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Time the networks, print a table and one line of JSON."""
    asked = read_arguments(__doc__, list(NETWORKS), 300, arguments)
    torch.set_num_threads(asked.threads)
    if asked.one:
        print(json.dumps(measure(asked.one)))
        return
    rows = rows_of(__file__, asked, lambda name, reason: {"model": name, "refused": reason}, lambda _: None)
    show(rows, COLUMNS, "|---|" + "---:|" * (len(COLUMNS) - 2) + "---|", asked.output)
    print_json({"rows": rows, **ratios(rows)})


if __name__ == "__main__":
    main()
