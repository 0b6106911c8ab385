"""Runs that are killed, starved, damaged and misused in every way: does anything get lost, wrong or executed?

    python -m benchmarks.reliability --output DIR             # all protocols; DIR keeps what is done, to go on from
    python -m benchmarks.reliability --output DIR --broken    # on a package that is broken on purpose: all fail
    python -m benchmarks.reliability --output DIR --table     # what DIR holds, as Markdown
    python -m benchmarks.reliability --protocols every-operation --settings random --every 20

A run is a whole command line in a process of its own, made by ``fork`` from one that has imported and warmed up
everything, on a network so small that it takes half a second. Pictures are not drawn, but written, read and verified.
"""

import argparse
import json
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.faults import machine, sabotage
from benchmarks.faults.damage import damages
from benchmarks.faults.hostile import hostile_files
from benchmarks.faults.killed import SETTINGS, Row, every_operation, random_kills
from benchmarks.faults.requests import random_requests
from benchmarks.faults.same_seed import same_seed
from benchmarks.faults.starved import starved
from benchmarks.faults.together import together
from benchmarks.faults.trusting import load_anything

Protocol = Callable[[Path], Iterator[Row]]
HEAD = "| protocol | of | faults | different states | failed |\n|---|---|---:|---:|---:|"
SHOWN = 5
IN_PARTS = {"random-kills": 50, "damage": 60, "requests": 100}


def protocols(asked: argparse.Namespace) -> dict[str, Protocol]:
    """Return what is to be done, by name."""
    broken = asked.broken
    careless = sabotage.write_in_place if broken else None
    todo: dict[str, Protocol] = {}
    for setting in asked.settings:
        # The settings take turns: where each meets every eighth operation, eight of them meet all that they share.
        first = list(SETTINGS).index(setting) + asked.offset
        name = f"every-operation {setting}{f' {asked.every} {asked.offset}' if asked.offset else ''}"
        todo[name] = partial(_at, every_operation, setting, (asked.every, first), careless)
    counts: dict[str, tuple[Callable[..., Iterator[Row]], int, Callable[[], None]]] = {
        "random-kills": (random_kills, asked.kills, sabotage.write_in_place),
        "starved": (starved, asked.levels, sabotage.ignore_errors),
        "damage": (damages, asked.damages, sabotage.believe_everything),
        "hostile": (hostile_files, asked.hostile, load_anything),
        "requests": (random_requests, asked.requests, sabotage.check_nothing),
        "together": (together, asked.processes, sabotage.lock_nothing),
        "same-seed": (same_seed, asked.policies, sabotage.seed_nothing),
    }
    for name, (protocol, count, breaking) in counts.items():
        use = breaking if broken else None
        if name in IN_PARTS:
            for part in range(0, count, IN_PARTS[name]):
                numbers = range(part, min(count, part + IN_PARTS[name]))
                todo[f"{name} {part}"] = partial(_counted, protocol, numbers, use)
        else:
            todo[name] = partial(_counted, protocol, count, use)
    wanted = asked.protocols
    return {name: each for name, each in todo.items() if not wanted or name.partition(" ")[0] in wanted}


def _at(protocol: Any, setting: str, every: tuple[int, int], broken: object, workshop: Path) -> Iterator[Row]:  # noqa: ANN401
    return iter(protocol(setting, workshop, *every, broken))


def _counted(protocol: Any, count: object, broken: object, workshop: Path) -> Iterator[Row]:  # noqa: ANN401
    return iter(protocol(count, workshop, broken))


def merged(rows: Iterable[Row]) -> list[Row]:
    """Return rows of which those that say the same of the same are one."""
    found: dict[tuple[str, str], Row] = {}
    for row in rows:
        before = found.get((row.protocol, row.setting))
        if before is not None:
            row = Row(*row[:2], before.tried + row.tried, before.states + row.states, before.failures + row.failures)
        found[row.protocol, row.setting] = row
    return list(found.values())


def line(row: Row) -> str:
    """Return a row as Markdown, and what went wrong below it."""
    return f"| {row.protocol} | {row.setting} | {row.tried} | {row.states} | {len(row.failures)} |"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the protocols that are not done yet, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, help="where what is done is kept, and gone on from")
    parser.add_argument("--broken", action="store_true", help="on a package that is broken on purpose")
    parser.add_argument("--table", action="store_true", help="only print what is done")
    parser.add_argument("--protocols", nargs="*", default=[])
    parser.add_argument("--settings", nargs="*", choices=SETTINGS, default=list(SETTINGS))
    parser.add_argument("--every", type=int, default=1, help="take every so-manieth operation only")
    parser.add_argument("--offset", type=int, default=0, help="take others, so many operations earlier")
    parser.add_argument("--minutes", type=float, default=1e9, help="begin nothing new behind so many")
    for name, count in (("kills", 200), ("levels", 20), ("damages", 300), ("hostile", 65), ("requests", 500)):
        parser.add_argument(f"--{name}", type=int, default=count)
    parser.add_argument("--processes", type=int, default=10, help="at once, in one folder or on one cache")
    parser.add_argument("--policies", type=int, default=10, help="how many are played with the same seed")
    asked = parser.parse_args(arguments)
    kept = None if asked.output is None else asked.output / f"rows{'-broken' if asked.broken else ''}.jsonl"
    done = _read(kept)
    if not asked.table:
        machine.prepare()
        machine.deadline = time.monotonic() + 60 * asked.minutes
        with suppress(machine.OutOfTime):
            for name, protocol in protocols(asked).items():
                machine.check_time()
                if name not in done:
                    done[name] = _play(name, protocol, kept)
    print(HEAD)
    for row in merged(row for rows in done.values() for row in rows):
        print(line(row), *(f"<!-- {failure} -->" for failure in row.failures[:SHOWN]), sep="\n", flush=True)


def _play(name: str, protocol: Protocol, kept: Path | None) -> list[Row]:
    if kept is None or not name.startswith("every-operation"):
        with tempfile.TemporaryDirectory() as folder:
            rows = list(protocol(Path(folder).resolve()))
    else:
        workshop = kept.with_suffix("") / name.replace(" ", "-")
        rows = list(protocol(workshop.resolve()))
        shutil.rmtree(workshop)
    if kept is not None:
        kept.parent.mkdir(parents=True, exist_ok=True)
        with kept.open("a") as file:
            file.write(json.dumps({"name": name, "rows": rows}) + "\n")
    return rows


def _read(kept: Path | None) -> dict[str, list[Row]]:
    if kept is None or not kept.exists():
        return {}
    lines = [json.loads(each) for each in kept.read_text().splitlines()]
    return {each["name"]: [Row(*row) for row in each["rows"]] for each in lines}


if __name__ == "__main__":
    main()
