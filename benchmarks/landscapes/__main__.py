"""Real landscapes: recorded once, turned into engines that answer in microseconds, and played by every policy.

    python -m benchmarks.landscapes record --networks resnet20-fashion --minutes 5      # again, until all is recorded
    python -m benchmarks.landscapes record --networks resnet20-cifar10 data=image_folder data.folder=DIR
    python -m benchmarks.landscapes fit
    python -m benchmarks.landscapes check
    python -m benchmarks.landscapes play --seeds 20

What is recorded is in ``benchmarks/landscapes/catalog.py``; the records lie beside it, what was fitted to them in
``envs/landscapes/fitted``. Every command goes on where it was stopped, and ends with one line of JSON.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from benchmarks.landscapes.catalog import NETWORKS
from benchmarks.landscapes.records import RECORDS


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
    for command in (record,):
        command.add_argument("--output", type=Path, default=RECORDS, help="folder of the records")
    return parser.parse_args(given)


def main(given: Sequence[str] | None = None) -> None:
    """Do what the command says."""
    args = arguments(given)
    if args.command == "record":
        from benchmarks.landscapes.recording import record

        done = {
            name: record(name, tuple(args.keys), args.strategies, args.minutes, args.output) for name in args.networks
        }
        print(json.dumps({"recorded": done}))


if __name__ == "__main__":
    main()
