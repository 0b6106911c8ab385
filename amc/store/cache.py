"""Where trained networks and downloads are kept."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from platformdirs import user_cache_path

from amc.errors import ConfigError
from amc.store.durable_files import remove_partial_files
from amc.store.lock import alone

log = logging.getLogger(__name__)
NAME = "amc-search"


def cache_folder(cache_dir: str | None) -> Path:
    """Return the folder asked for, else the user's cache folder: on Linux ``XDG_CACHE_HOME`` or ``~/.cache``.

    Raises:
        ConfigError: nobody knows where the user's home is, as in a container without users.
    """
    try:
        return Path(cache_dir).expanduser() if cache_dir else user_cache_path(NAME, appauthor=False)
    except RuntimeError as error:
        raise ConfigError("cache_dir: where your home is, is not known; give a path, or set HOME") from error


@contextmanager
def filling(path: Path, what: str) -> Iterator[bool]:
    """Keep other processes waiting that need the same file of the cache; yields whether it may be kept.

    A cache that is there and may only be read, say another user's, saves what it holds; the rest is made, and not kept.

    Args:
        path: of the file.
        what: is done meanwhile, for log lines.

    Raises:
        StorageError: the cache can be neither written nor read.
    """
    there = next((folder for folder in (path.parent, path.parent.parent) if folder.is_dir()), None)
    if there is not None and not os.access(there, os.W_OK):
        log.warning("%s may not be written: what is made is not kept there", there)
        yield False
        return
    with alone(path.with_name(f".{path.name}.lock"), what):
        remove_partial_files(path.parent, path.name)
        yield True
