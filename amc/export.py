"""``amc-export RUN``, ``python -m amc.export RUN``: the pruned network of a run as a file that a runtime loads."""

import os
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import amc
from amc.cli.entry import enter
from amc.errors import ConfigError

FORMATS = ("onnx", "pt2", "safetensors", "openvino")


class _Parser(ArgumentParser):
    """Reports a wrong argument as the other commands report a wrong key."""

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{message}; --help says what can be asked")


def main(arguments: Sequence[str]) -> None:
    """Write the pruned network of a run in a format.

    Raises:
        ConfigError: an argument is wrong, or there is no such folder.
        ModelError: the network cannot be written, or computes something else in the other runtime.
        RefusedInput: the folder holds no network.
    """
    asked = _asked(arguments)
    # Imported late: a typo on the command line is answered before torch is there.
    from amc.deploy.exporting import export_run

    for line in export_run(asked.run, asked.format, asked.output or asked.run, int8=asked.int8):
        print(line)


def _asked(arguments: Sequence[str]) -> Namespace:
    parser = _Parser("amc-export", description="The pruned network of a run, for another runtime.")
    parser.add_argument("--version", action="version", version=f"amc-search {amc.__version__}")
    parser.add_argument("run", type=Path, help="the folder of a finished run")
    parser.add_argument("--format", choices=FORMATS, default="onnx", help="by default onnx")
    parser.add_argument("--int8", action="store_true", help="in eight-bit integers beside; with onnx")
    parser.add_argument("--output", type=Path, help="where the file goes; by default the run's folder")
    asked = parser.parse_args(arguments)
    if not asked.run.is_dir():
        raise ConfigError(f"{asked.run}: no such folder; runs are left in outputs/<name>")
    if asked.int8 and asked.format != "onnx":
        raise ConfigError(f"--int8 goes with --format onnx, not with {asked.format}")
    return asked


def run() -> None:
    """Export as the command line asks; errors end in one line."""
    from amc.cli.command import reporting
    from amc.cli.user_errors import FULL_ERROR

    with reporting("export", os.environ.get(FULL_ERROR) == "1"):
        main(sys.argv[1:])


def script() -> None:
    """Run the command line: what the console script ``amc-export`` calls."""
    enter("export", run)


if __name__ == "__main__":
    script()
