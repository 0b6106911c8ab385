"""Published files, fetched once and checked against the MD5 that their publisher states."""

import hashlib
import http.client
import logging
import os
import urllib.request
from pathlib import Path
from typing import NamedTuple

from amc.errors import ConfigError, RefusedInput, StorageError

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
    """Return ``folder`` once it holds all files, downloading those that it lacks.

    Raises:
        RefusedInput: a download is not what was published.
        StorageError: a download failed, or the folder cannot be written.
    """
    for file in files:
        if not (folder / file.name).is_file():
            _download(file, folder, hint)
    return folder


def _download(file: Download, folder: Path, hint: str) -> None:
    """Fetch one file beside its target and move it there once its digest is right."""
    target = folder / file.name
    partial = folder / f"{file.name}.{os.getpid()}.part"
    log.info("downloading %s", file.url)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        digest = _copy(file.url, partial)
        if digest != file.md5:
            raise RefusedInput(f"{file.url} is not what was published (MD5 {digest}, not {file.md5}): {hint}")
        partial.replace(target)
    except (OSError, http.client.HTTPException) as error:
        raise StorageError(f"cannot download {file.url} to {folder} ({error}): {hint}") from error
    finally:
        partial.unlink(missing_ok=True)


def _copy(url: str, target: Path) -> str:
    """Copy a URL's content to a file and return its MD5."""
    digest = hashlib.md5(usedforsecurity=False)
    # The URLs are constants of this package.
    with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as response, target.open("wb") as out:  # noqa: S310
        while block := response.read(BLOCK_BYTES):
            digest.update(block)
            out.write(block)
        out.flush()
        os.fsync(out.fileno())
    return digest.hexdigest()
