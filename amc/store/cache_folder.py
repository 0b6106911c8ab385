"""Where trained networks and downloads are kept."""

from pathlib import Path


def cache_folder(cache_dir: str | None) -> Path:
    """Return the folder that is asked for, else the user's cache folder."""
    return Path(cache_dir).expanduser() if cache_dir else Path.home() / ".cache" / "amc-search"
