"""A job that is refused leaves no folder: what Hydra makes before the job begins is taken away again."""

import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from amc.errors import UserError

OF_HYDRA = frozenset({".hydra", ".lock"})


@contextmanager
def leaving_nothing_behind(folder: Path) -> Iterator[None]:
    """Take away the folder of a job that is refused in the block before it has written anything of its own."""
    try:
        yield
    except (UserError, HydraException, OmegaConfBaseException):
        remove_untouched(folder)
        raise


def remove_untouched(folder: Path) -> None:
    """Remove a run's folder if nothing is in it but what Hydra put there, and the empty folders above it."""
    try:
        found = {path.name for path in folder.iterdir()}
    except OSError:
        return
    logs = {name for name in found if name.endswith(".log")}
    if found - OF_HYDRA - logs:
        return
    _close_logs(folder)
    shutil.rmtree(folder, ignore_errors=True)
    with suppress(OSError):  # the first that is not empty ends it
        for parent in list(folder.parents)[:4]:
            parent.rmdir()


def _close_logs(folder: Path) -> None:
    """Let the log go that lies in a folder."""
    root = logging.getLogger()
    for handler in list(root.handlers):
        if isinstance(handler, logging.FileHandler) and Path(handler.baseFilename).parent == folder.absolute():
            root.removeHandler(handler)
            handler.close()
