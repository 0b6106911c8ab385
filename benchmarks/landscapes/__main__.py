"""Real landscapes: recorded once, turned into engines that answer in microseconds, and played by every policy.

    python -m benchmarks.landscapes record --networks resnet20-fashion --minutes 5      # again, until all is recorded
    python -m benchmarks.landscapes record --networks resnet20-cifar10 data=image_folder data.folder=DIR
    python -m benchmarks.landscapes fit
    python -m benchmarks.landscapes check
    python -m benchmarks.landscapes play --seeds 20
    python -m benchmarks.landscapes observe

What is recorded is in ``benchmarks/landscapes/catalog.py``; the records lie beside it, what was fitted to them in
``envs/landscapes/fitted``. Every command goes on where it was stopped, and ends with one line of JSON.
"""

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.landscapes.catalog import DESIGN, NETWORKS, TARGETS
from benchmarks.landscapes.records import RECORDS
from envs.landscapes.files import FITTED, landscape_names
from envs.rewards import REWARDS

Figures = dict[str, Any]
FEWEST = 200
"""Evaluations that a landscape takes, unless it is asked for by name."""
PLAYED = (0.3, 0.15)
"""Targets of a play: at a half most networks of the catalog lose next to nothing."""


def arguments(given: Sequence[str] | None) -> argparse.Namespace:
    """Parse the options."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.landscapes",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    record = commands.add_parser("record", help="score real networks")
    record.add_argument("--networks", nargs="+", choices=list(NETWORKS), default=list(NETWORKS))
    record.add_argument("--strategies", type=int, default=330, help="drawn at each target, beside those of searches")
    record.add_argument("--minutes", type=float, default=5, help="after which a network is left for the next call")
    record.add_argument("keys", nargs="*", help="keys of amc.search that differ, such as data.folder=DIR")
    fit = commands.add_parser("fit", help="turn records into landscapes")
    check = commands.add_parser("check", help="compare landscapes with evaluations that they were not fitted to")
    observe = commands.add_parser("observe", help="what of a strategy foretells its score, on the records")
    for command in (record, fit, check, observe):
        command.add_argument("--output", type=Path, default=RECORDS, help="folder of the records")
    for command in (fit, check):
        command.add_argument("--fitted", type=Path, default=FITTED, help="folder of what was fitted")
    for command in (fit, check, observe):
        command.add_argument("--networks", nargs="+", help="all that are recorded by default")
    _add_play(commands.add_parser("play", help="let policies search on landscapes"))
    return parser.parse_args(given)


def _add_play(play: argparse.ArgumentParser) -> None:
    from benchmarks.landscapes.rivals import POLICIES, VARIANTS

    play.add_argument("--seeds", type=int, default=20, help="how many, counted from 0")
    play.add_argument("--episodes", type=int, default=150)
    play.add_argument("--policies", nargs="+", choices=[*POLICIES, *VARIANTS], default=list(POLICIES))
    play.add_argument("--enter", nargs="+", default=[], help="dotted paths of policies of your own: a class each")
    play.add_argument("--landscapes", nargs="+", choices=landscape_names(), help="all by default")
    play.add_argument("--half", choices=["design", "held-out"], help="those that agents may be designed on, or not")
    play.add_argument("--targets", nargs="+", type=float, choices=TARGETS, default=PLAYED)
    play.add_argument("--reward", choices=list(REWARDS), default="accuracy")
    play.add_argument("--noise", action="store_true", help="let evaluations scatter as real ones do")
    play.add_argument("--jobs", type=int, default=1, help="searches played at a time")
    play.add_argument("--output", type=Path, help="file of finished searches, which the next call goes on from")


def record(args: argparse.Namespace) -> Figures:
    """Score real networks."""
    from benchmarks.landscapes.recording import record

    return {
        "recorded": {
            name: record(name, tuple(args.keys), args.strategies, args.minutes, args.output) for name in args.networks
        }
    }


def fit(args: argparse.Namespace) -> Figures:
    """Turn records into landscapes."""
    from benchmarks.landscapes.fitting import fit
    from benchmarks.landscapes.records import Record, record_path, recorded
    from envs.landscapes.files import write_landscape

    sizes = {}
    for name in args.networks or recorded(args.output):
        record = Record(record_path(name, args.output))
        if len(record.rows) < FEWEST and not args.networks:
            Console(stderr=True).print(f"{name}: left out, {len(record.rows)} evaluations are too few to fit to")
            continue
        path = write_landscape(fit(record), name, args.fitted)
        sizes[name] = {"rows": len(record.fitted()), "bytes": path.stat().st_size}
    return {"fitted": sizes}


def check(args: argparse.Namespace) -> Figures:
    """Compare landscapes with evaluations that they were not fitted to."""
    from benchmarks.landscapes.checking import check
    from benchmarks.landscapes.records import Record, record_path
    from envs.landscapes.files import read_landscape

    return {
        "checked": {
            name: check(Record(record_path(name, args.output)), read_landscape(name, args.fitted))
            for name in args.networks or landscape_names(args.fitted)
        }
    }


def observe(args: argparse.Namespace) -> Figures:
    """Say what of a strategy foretells its score."""
    from benchmarks.landscapes.observing import observe
    from benchmarks.landscapes.records import Record, record_path, recorded

    return {
        "observed": {
            name: observe(Record(record_path(name, args.output))) for name in args.networks or recorded(args.output)
        }
    }


def play(args: argparse.Namespace) -> Figures:
    """Let policies search on landscapes."""
    from benchmarks.landscapes.playing import Game, can_play, landscape_of, play_all
    from benchmarks.landscapes.regrets import summary
    from benchmarks.landscapes.rivals import SAME_FOR_ALL_SEEDS
    from benchmarks.record import Record

    names = args.landscapes or [name for name in landscape_names() if _wanted(name, args.half)]
    games = [
        Game(name, target, policy, seed, args.episodes, args.noise, args.reward)
        for seed in range(args.seeds)
        for name in names
        for target in args.targets
        if target in landscape_of(name).best
        for policy in (*args.policies, *args.enter)
        if can_play(policy, name) and (seed == 0 or args.noise or policy not in SAME_FOR_ALL_SEEDS)
    ]
    rows = play_all(games, args.jobs, Record(args.output, {"schema": 1}) if args.output else None)
    figures = summary(rows, args.episodes, range(args.seeds))
    show(figures, f"{len(names)} landscapes, targets {args.targets}, {args.seeds} seeds, {args.episodes} evaluations")
    return {
        "regret": {name: row["regret"] for name, row in figures.items()},
        "figures": figures,
        "landscapes": names,
        "seconds": round(sum(row["seconds"] for row in rows), 1),
    }


def _wanted(name: str, half: str | None) -> bool:
    return half is None or (name in DESIGN) == (half == "design")


def show(figures: dict[str, Figures], title: str) -> None:
    """Print the table of a play, the best first."""
    table = Table("policy", "regret", "95% interval", "rank", "amc less this", "p", title=title)
    for name, row in figures.items():
        low, high = row["interval"]
        rank = "" if row["rank"] is None else f"{row['rank']:.1f}"
        gain, p = row.get("ours_less_this"), row.get("p")
        tests = ("", "") if gain is None else (f"{gain:+.4f}", f"{p:.4f}")
        table.add_row(name, f"{row['regret']:.4f}", f"{low:.4f} to {high:.4f}", rank, *tests)
    Console(width=120).print(table)


COMMANDS: dict[str, Callable[[argparse.Namespace], Figures]] = {
    "record": record,
    "fit": fit,
    "check": check,
    "observe": observe,
    "play": play,
}


def main(given: Sequence[str] | None = None) -> None:
    """Do what the command says."""
    args = arguments(given)
    print(json.dumps(COMMANDS[args.command](args)))


if __name__ == "__main__":
    main()
