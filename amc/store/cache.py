"""Where trained networks and downloads are kept."""

from pathlib import Path

from platformdirs import user_cache_path

NAME = "amc-search"


def cache_folder(cache_dir: str | None) -> Path:
    """Return the folder asked for, else the user's cache folder: on Linux ``XDG_CACHE_HOME`` or ``~/.cache``."""
    return Path(cache_dir).expanduser() if cache_dir else user_cache_path(NAME, appauthor=False)
