"""Log lines that no name can tear or colour: files and libraries have their say in them."""

import logging
import os
import sys

import rich
from rich import get_console
from rich.logging import RichHandler

from amc.cli.lasting_output import keep_on_without
from amc.names import printable_line

FILE_COLUMNS = 160
LIBRARIES = ("matplotlib", "PIL", "filelock", "urllib3", "optuna", "h5py", "fsspec")


class LineFormatter(logging.Formatter):
    """Brings every message to one line without control characters; a traceback behind it keeps its lines."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  logging's name
        """Return the line."""
        record.message = printable_line(record.message)
        return super().formatMessage(record)


def console_handler() -> logging.Handler:
    """Return what shows log lines: on a terminal beside the progress bars, in a file or pipe a line each.

    From then on a job runs, which does not end where they can no longer be shown.
    """
    keep_on_without("stdout")
    console = get_console()
    if console.is_terminal:
        return RichHandler(console=console, show_path=False)
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(LineFormatter("%(asctime)s %(levelname)-8s %(message)s", datefmt="%X"))
    return handler


def widen_for_files() -> None:
    """Let tables be as wide as they are where no terminal is there to be too narrow for them."""
    if not get_console().is_terminal and "COLUMNS" not in os.environ:
        rich.reconfigure(width=FILE_COLUMNS)


def hush_libraries() -> None:
    """Keep the inner life of libraries out of ``hydra.verbose=true``, such as matplotlib's scores of fonts.

    And that of logging: a log that a full disk does not take would be a traceback a line.
    """
    logging.raiseExceptions = False
    for name in LIBRARIES:
        logging.getLogger(name).setLevel(logging.INFO)
    # What it cannot import is said in our own words.
    logging.getLogger("hydra.utils").setLevel(logging.CRITICAL)
