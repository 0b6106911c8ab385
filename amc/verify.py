"""``amc-verify RUN``, ``python -m amc.verify RUN``: what a run's folder is worth, file by file."""

from collections.abc import Sequence
from pathlib import Path

from amc.cli.entry import enter
from amc.cli.plain_command import Parser, run_plain_command
from amc.errors import ConfigError, RefusedInput


def main(arguments: Sequence[str]) -> None:
    """Verify the files of a run.

    Raises:
        ConfigError: an argument is wrong, or there is no such folder.
        RefusedInput: the folder holds no run, or a file of it is missing or damaged.
    """
    parser = Parser("verify", "Whether the files of a run are what was written.")
    parser.add_argument("run", type=Path, help="the folder of a run, finished or not")
    folder: Path = parser.parse_args(arguments).run
    if not folder.is_dir():
        raise ConfigError(f"{folder}: no such folder; runs are left in outputs/<name>")
    # Imported late: a typo on the command line is answered before torch is there.
    from amc.names import printable, printable_line
    from amc.store.digests import CHECKSUMS
    from amc.store.run_folders import is_finished
    from amc.weights.verification import verify_run

    files = verify_run(folder)
    for file in files:
        said = file.damage or ("as written" if file.vouched else "not verified: of before there were digests")
        print(f"{printable(file.name)}: {printable_line(said)}")
    damaged = sorted({printable(file.name) for file in files if file.damage})
    if damaged:
        raise RefusedInput(
            f"{folder}: {', '.join(damaged)} {'is' if len(damaged) == 1 else 'are'} not what was written; "
            "the command that made the run, given again, makes anew what it can"
        )
    if (folder / CHECKSUMS).exists():
        print("finished, and whole")
    elif is_finished(folder):
        print(f"no {CHECKSUMS}: cut short behind its result, or deleted; the same command makes what is missing")
    else:
        print("whole as far as it goes; the same command goes on from it")


def run() -> None:
    """Verify as the command line asks; errors end in one line."""
    run_plain_command("verify", main)


def script() -> None:
    """Run the command line: what the console script ``amc-verify`` calls."""
    enter("verify", run)


if __name__ == "__main__":
    script()
