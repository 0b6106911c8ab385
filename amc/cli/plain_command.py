"""A command whose arguments are no configuration: errors end in one line and an exit code here, too."""

import os
import sys
from argparse import ArgumentParser
from collections.abc import Callable, Sequence
from typing import NoReturn

import amc
from amc.errors import ConfigError


class Parser(ArgumentParser):
    """Reads the arguments of a command, and reports a wrong one as the other commands report a wrong key.

    Args:
        command: its name, such as ``verify``.
        description: what it is for.
    """

    def __init__(self, command: str, description: str) -> None:
        super().__init__(f"amc-{command}", description=description)
        self.add_argument("--version", action="version", version=f"amc-search {amc.__version__}")

    def error(self, message: str) -> NoReturn:
        """Refuse an argument.

        Raises:
            ConfigError: always.
        """
        raise ConfigError(f"{message}; --help says what can be asked")


def run_plain_command(command: str, main: Callable[[Sequence[str]], None]) -> None:
    """Run a command on the arguments of the command line.

    Args:
        command: its name in error messages.
        main: takes the arguments.

    Raises:
        SystemExit: the command failed, with the exit code of ``amc.errors``.
    """
    # Imported late, as what a command needs is.
    from amc.cli.command import reporting
    from amc.cli.lasting_output import keep_on_without
    from amc.cli.log_lines import widen_for_files
    from amc.cli.user_errors import FULL_ERROR

    keep_on_without("stderr")
    widen_for_files()
    with reporting(command, os.environ.get(FULL_ERROR) == "1"):
        main(sys.argv[1:])
