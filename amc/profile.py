"""``amc-profile``, ``python -m amc.profile``: a table of latencies for a network, here or on another machine."""

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from amc.cli.entry import enter
from amc.cli.plain_command import Parser, run_plain_command
from amc.errors import ConfigError

EXAMPLE = "model=resnet20 data=fashion_mnist latency.batch=1"


def main(arguments: Sequence[str]) -> None:
    """Measure a table, or pack what another machine is to measure.

    Raises:
        ConfigError: an argument or a key is wrong.
        ModelError: the network cannot be measured, or the machine is too noisy.
    """
    asked = _asked(arguments)
    # Imported late: a typo on the command line is answered before torch is there.
    from amc.deploy.profiling import ask_elsewhere, measure_here

    if asked.ask is not None:
        ask_elsewhere(asked.keys, asked.ask)
        print(f"written: {asked.ask}; where Python and onnxruntime are: python {asked.ask.name} table.json")
    else:
        print(measure_here(asked.keys, asked.table))


def _asked(arguments: Sequence[str]) -> Namespace:
    parser = Parser("profile", "A table of latencies for resource=latency and round_to=auto.")
    parser.add_argument("keys", nargs="*", metavar="key=value", help=f"as of amc.search, such as {EXAMPLE}")
    parser.add_argument("--table", type=Path, default=Path("latency.json"), help="what to write; latency.json")
    parser.add_argument("--ask", type=Path, help="write one file, such as phone.pyz, that measures on another machine")
    asked = parser.parse_intermixed_args(arguments)
    for each in asked.keys:
        if "=" not in each:
            raise ConfigError(f"{each}: must be key=value, such as {EXAMPLE}")
    return asked


def run() -> None:
    """Measure as the command line asks; errors end in one line."""
    run_plain_command("profile", main)


def script() -> None:
    """Run the command line: what the console script ``amc-profile`` calls."""
    enter("profile", run)


if __name__ == "__main__":
    script()
