"""Options of benchmarks that measure cells: a network, data and a target each."""

import argparse
from collections.abc import Mapping
from pathlib import Path

Keys = tuple[str, ...]
"""Keys of ``amc.search``."""


def add_options(parser: argparse.ArgumentParser, cells: Mapping[str, Keys]) -> None:
    """Let the user say where records go, which of the cells are measured, and which others."""
    parser.add_argument("--output", type=Path, required=True, help="folder of the records")
    parser.add_argument("--cells", nargs="+", choices=list(cells), help=f"to measure; all {len(cells)} by default")
    parser.add_argument("--cell", nargs="+", action="append", default=[], metavar=("NAME", "KEY=VALUE"))


def chosen(args: argparse.Namespace, cells: Mapping[str, Keys]) -> dict[str, Keys]:
    """Return the cells that the options ask for."""
    named = args.cells or ([] if args.cell else cells)
    return {name: cells[name] for name in named} | {name: tuple(keys) for name, *keys in args.cell}
