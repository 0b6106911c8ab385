"""``amc-export RUN``, ``python -m amc.export RUN``: the pruned network of a run as a file that a runtime loads."""

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from amc.cli.entry import enter
from amc.cli.plain_command import Parser, run_plain_command
from amc.errors import ConfigError

FORMATS = ("onnx", "pt2", "safetensors", "openvino")


def main(arguments: Sequence[str]) -> None:
    """Write the pruned network of a run in a format.

    Raises:
        ConfigError: an argument is wrong, or there is no such folder.
        ModelError: the network cannot be written, or computes something else in the other runtime.
        RefusedInput: the folder holds no network, or names code.
    """
    asked = _asked(arguments)
    # Imported late: a typo on the command line is answered before torch is there.
    from amc.deploy.exporting import export_run

    output = asked.output or asked.run
    for line in export_run(asked.run, asked.format, output, int8=asked.int8, own_code=asked.own_code):
        print(line)


def _asked(arguments: Sequence[str]) -> Namespace:
    parser = Parser("export", "The pruned network of a run, for another runtime.")
    parser.add_argument("run", type=Path, help="the folder of a finished run")
    parser.add_argument("--format", choices=FORMATS, default="onnx", help="by default onnx")
    parser.add_argument("--int8", action="store_true", help="in eight-bit integers beside; with onnx")
    parser.add_argument("--output", type=Path, help="where the file goes; by default the run's folder")
    parser.add_argument("--own-code", action="store_true", help="call the functions that it names: the run is yours")
    asked = parser.parse_args(arguments)
    if not asked.run.is_dir():
        raise ConfigError(f"{asked.run}: no such folder; runs are left in outputs/<name>")
    if asked.int8 and asked.format != "onnx":
        raise ConfigError(f"--int8 goes with --format onnx, not with {asked.format}")
    return asked


def run() -> None:
    """Export as the command line asks; errors end in one line."""
    run_plain_command("export", main)


def script() -> None:
    """Run the command line: what the console script ``amc-export`` calls."""
    enter("export", run)


if __name__ == "__main__":
    script()
