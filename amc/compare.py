"""``amc-compare outputs/study``, ``python -m amc.compare ...``: which search policy is best, from finished runs."""

from collections.abc import Sequence
from pathlib import Path

from amc.cli.entry import enter
from amc.cli.plain_command import Parser, run_plain_command
from amc.errors import ConfigError


def main(arguments: Sequence[str]) -> None:
    """Compare the runs of a folder.

    Raises:
        ConfigError: an argument is wrong, or there is no such folder or no finished run in it.
        StorageError: a folder cannot be read or written.
    """
    parser = Parser("compare", "Which search policy is best, from finished runs.")
    parser.add_argument("study", type=Path, help="folder that holds run folders, at any depth")
    parser.add_argument("--watch", action="store_true", help="show how far its runs are, until they are finished")
    parser.add_argument("--output", type=Path, help="where the page and pictures go; default: the study")
    parser.add_argument("--optuna", type=Path, help="file to write all trials to, as studies for optuna-dashboard")
    parser.add_argument("--tensorboard", type=Path, help="folder to write one HParams table of all runs to")
    asked = parser.parse_args(arguments)
    if not asked.study.is_dir():
        raise ConfigError(f"{asked.study}: no such folder; runs are left in outputs/<name>")
    # Imported late: a typo on the command line is answered before torch is there.
    if asked.watch:
        from amc.watching import watch

        if not watch(asked.study):
            return
    from amc.comparison.publish import compare

    compare(asked.study, asked.output or asked.study, asked.optuna, asked.tensorboard)


def run() -> None:
    """Compare as the command line asks; errors end in one line."""
    run_plain_command("compare", main)


def script() -> None:
    """Run the command line: what the console script ``amc-compare`` calls."""
    enter("compare", run)


if __name__ == "__main__":
    script()
