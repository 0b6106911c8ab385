"""Published files, fetched once and checked against the MD5 that their publisher states."""

import logging
from pathlib import Path
from typing import NamedTuple

import pooch

from amc.errors import ConfigError, RefusedInput, StorageError
from envs.engine.errors import first_line

log = logging.getLogger(__name__)

TIMEOUT_SECONDS = 20
BLOCK_BYTES = 1 << 20


class Download(NamedTuple):
    """A file by name, where it is published, and the MD5 of its content: against damage, not against forgery."""

    name: str
    url: str
    md5: str


def find_files(folder: str, names: list[str], hint: str) -> Path:
    """Return ``folder`` as a path, once it is known to hold files of these names.

    Raises:
        ConfigError: it does not.
    """
    where = Path(folder).expanduser()
    if not where.is_dir():
        raise ConfigError(f"data.folder={folder} is no folder: {hint}")
    missing = [name for name in names if not (where / name).is_file()]
    if missing:
        raise ConfigError(f"data.folder={folder} lacks {', '.join(missing)}: {hint}")
    return where


def fetch_files(files: list[Download], folder: Path, hint: str) -> Path:
    """Return ``folder`` once it holds all files as they were published, downloading those that it lacks.

    Raises:
        RefusedInput: a download is not what was published.
        StorageError: a download failed, or the folder cannot be written.
    """
    for file in files:
        _fetch(file, folder, hint)
    return folder


def _fetch(file: Download, folder: Path, hint: str) -> None:
    # It would write to the terminal by itself, between the lines of progress bars.
    pooch.get_logger().setLevel(logging.WARNING)
    if not (folder / file.name).is_file():
        log.info("downloading %s", file.url)
    # What is published may be compressed itself: unpacked on the way it would be another file.
    download = pooch.HTTPDownloader(
        chunk_size=BLOCK_BYTES, timeout=TIMEOUT_SECONDS, headers={"Accept-Encoding": "identity"}
    )
    try:
        pooch.retrieve(file.url, f"md5:{file.md5}", fname=file.name, path=folder, downloader=download)
    except OSError as error:
        raise StorageError(f"cannot download {file.url} to {folder} ({first_line(error)}): {hint}") from error
    except ValueError as error:
        raise RefusedInput(f"{file.url} is not what was published ({first_line(error)}): {hint}") from error
