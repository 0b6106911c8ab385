"""The study's fine-tuning on a GPU: as many steps as were counted on a CPU, many networks side by side.

    python -m benchmarks.study --output plans --plan                       # on a CPU: prunes, and counts the steps
    python -m benchmarks.study_on_gpu --plans plans --output study         # on a GPU: takes them
    python -m benchmarks.study --output study --show                       # the tables

Every network is pruned once more from the strategy that its method came to, one network for all seeds that came to the
same, and takes the planned number of steps by the study's recipe, each a replay of one CUDA graph
(``benchmarks/graphed_training.py``). Rows are those of the plan, with what came out on test. Processes share the GPU;
NVIDIA's MPS lets them compute at once. What is there already is not done again, and ``--until`` ends it. The last line
of the output is JSON.
"""

import argparse
import copy
import json
import os
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.multiprocessing as multiprocessing
from rich.console import Console
from torch import nn

from amc.zoo.data.device_data import DeviceData
from benchmarks.graphed_training import train_by_graph
from benchmarks.record import Record, Row, lines_of
from benchmarks.setting import machine
from benchmarks.study_cell import Cell, identity, make_cell

console = Console(stderr=True)
Unit = tuple[str, float, str]
"""A cell, minutes and a method: what one process does in a piece, as seeds share what it prunes."""


def arguments(given: Sequence[str] | None) -> argparse.Namespace:
    """Parse the options."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.study_on_gpu",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--plans", type=Path, required=True, help="folder of the rows that were planned")
    parser.add_argument("--output", type=Path, required=True, help="folder of the records")
    parser.add_argument("--keys", nargs="*", default=[], help="of amc.search, of this machine: data.folder=... say")
    parser.add_argument("--checkpoints", nargs="*", default=[], metavar="NETWORK=FILE", help="dense networks by name")
    parser.add_argument("--processes", type=int, default=max(1, (os.cpu_count() or 1) - 2))
    parser.add_argument("--until", type=float, default=float("inf"), help="seconds after which nothing new is begun")
    parser.add_argument("--device", default="cuda", help="of amc.search; on another than cuda steps are not replayed")
    parser.add_argument("--eager", action="store_true", help="one kernel after the other instead of a graph")
    return parser.parse_args(given)


def planned(folder: Path) -> tuple[dict[str, list[str]], dict[Unit, list[Row]]]:
    """Return the keys of every cell, and what was planned, least minutes first."""
    keys, units = {}, defaultdict(list)
    for path in sorted(folder.glob("*.jsonl")):
        settings, *rows = lines_of(path)
        keys[path.stem] = settings["keys"]
        for row in rows:
            units[path.stem, row["minutes"], row["method"]].append(row)
    return keys, dict(sorted(units.items(), key=lambda item: item[0][1]))


def finished(cell: Cell, pruned: nn.Module, row: Row, *, eager: bool) -> Row:
    """Return a planned row with the accuracy on test before and after fine-tuning."""
    # New parameters: those that a gradient was computed of before cannot be trained in a graph.
    network = copy.deepcopy(pruned)
    tuner = cell.tuner(row["method"], row["seed"])
    start = time.perf_counter()
    if eager or cell.plan.data.device.type != "cuda":
        tuner.train_steps(network, row["steps"])
    else:
        train_by_graph(tuner, network, row["steps"])
    seconds = round(time.perf_counter() - start, 1)
    return row | {
        "before": cell.score(pruned),
        "test": cell.score(network),
        "device": machine()["device"],
        "device_seconds": seconds,
    }


def work(units: Any, done: Any, keys: dict[str, list[str]], args: argparse.Namespace, end: float) -> None:  # noqa: ANN401
    """Take one unit after the other, and put finished rows into ``done``; in the end ``None``."""
    torch.set_num_threads(1)
    checkpoints = dict(each.split("=", 1) for each in args.checkpoints)
    cells: dict[str, Cell] = {}
    loaded: dict[tuple[str, ...], DeviceData] = {}
    eager = args.eager
    while (unit := units.get()) is not None and time.time() < end:
        (name, _, method), rows = unit
        if name not in cells:
            network = name.rpartition("-")[0]
            own = [f"model.checkpoint={checkpoints[network]}"] if network in checkpoints else []
            data = tuple(key for key in keys[name] if key.startswith("data"))
            asked = (*keys[name], *own, *args.keys, f"device={args.device}", "threads=1")
            cells = {name: make_cell(asked, loaded.get(data))}
            loaded[data] = cells[name].plan.data
        cell = cells[name]
        make = cell.maker(method, seed=0)
        pruned: dict[str, nn.Module] = {}
        for row in rows:
            if time.time() >= end:
                break
            strategy = row.get("strategy")
            if str(strategy) not in pruned:
                pruned[str(strategy)] = make(strategy)
            try:
                done.put((name, finished(cell, pruned[str(strategy)], row, eager=eager)))
            except (RuntimeError, ValueError) as error:
                done.put((name, row | {"error": f"{type(error).__name__}: {error}"[:500]}))
                eager = True  # a graph that could not be recorded leaves torch's generator behind in it
    done.put(None)


def main(given: Sequence[str] | None = None) -> None:
    """Fine-tune what is missing, and print one line of JSON."""
    args = arguments(given)
    end = time.time() + args.until
    keys, units = planned(args.plans)
    records = {name: Record(args.output / f"{name}.jsonl", {"keys": each}) for name, each in keys.items()}
    have = {(name, identity(row)) for name, record in records.items() for row in record.rows}
    context = multiprocessing.get_context("spawn")
    queue, done = context.Queue(), context.Queue()
    for unit, rows in units.items():
        if missing := [row for row in rows if (unit[0], identity(row)) not in have]:
            queue.put((unit, missing))
    for _ in range(args.processes):
        queue.put(None)
    processes = [
        context.Process(target=work, args=(queue, done, keys, args, end), daemon=True) for _ in range(args.processes)
    ]
    for process in processes:
        process.start()
    running, steps, failed = len(processes), 0, 0
    begun = time.time()
    while running:
        item = done.get()
        if item is None:
            running -= 1
            continue
        name, row = item
        if "error" in row:
            failed += 1
            console.print(f"{name} seed {row['seed']}, {row['method']}: {row['error']}")
            continue
        records[name].add(row)
        steps += row["steps"]
        console.print(f"{name} seed {row['seed']}, {row['method']}: {row['test']:.4f} in {row['device_seconds']} s")
    seconds = round(time.time() - begun)
    print(json.dumps({"steps": steps, "seconds": seconds, "failed": failed, "machine": machine()}))


if __name__ == "__main__":
    main()
