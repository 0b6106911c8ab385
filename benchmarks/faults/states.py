"""What lies in a folder at a moment: kept, compared and put back."""

import hashlib
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

Content = Mapping[str, bytes | None]
"""Files by their path, ``None`` for a folder."""
# Neither is read by a run: what Hydra composed, the log, and the file of a lock whose holder is dead.
UNREAD = (".log", ".yaml", ".lock")


def content_of(folder: Path) -> dict[str, bytes | None]:
    """Return all that lies in a folder, but for what no run reads."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
        if path.suffix not in UNREAD and not path.name.endswith(".lock")
    }


def digest(content: Content) -> str:
    """Return what tells two contents apart."""
    hashed = hashlib.sha256()
    for name, each in sorted(content.items()):
        hashed.update(f"{name}\0{'' if each is None else len(each)}\0".encode() + (each or b""))
    return hashed.hexdigest()[:24]


def lay_out(content: Content, folder: Path) -> None:
    """Put a content into a new folder."""
    folder.mkdir(parents=True)
    for name, each in sorted(content.items()):
        path = folder / name
        if each is None:
            path.mkdir(parents=True, exist_ok=True)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(each)


class _Kept(NamedTuple):
    inode: int
    content: bytes
    aside: Path


class Frozen:
    """A folder as it is now, to be put back with the very same files: a process holds some of them open.

    Args:
        folder: it.
        aside: an empty place on the same file system, for as long as this lasts.
    """

    def __init__(self, folder: Path, aside: Path) -> None:
        self._folder, self._aside = folder, aside
        aside.mkdir()
        paths = list(folder.rglob("*"))
        self._folders = {path for path in paths if path.is_dir()}
        files = enumerate(path for path in paths if path.is_file())
        self._files = {path: self._keep(path, aside / str(number)) for number, path in files}

    @staticmethod
    def _keep(path: Path, aside: Path) -> _Kept:
        os.link(path, aside)
        return _Kept(path.stat().st_ino, path.read_bytes(), aside)

    def put_back(self) -> None:
        """Make the folder what it was."""
        for path in sorted(self._folder.rglob("*"), reverse=True):
            if path.is_dir():
                if path not in self._folders:
                    path.rmdir()
            elif path not in self._files or path.stat().st_ino != self._files[path].inode:
                path.unlink()
        for path in sorted(self._folders):
            path.mkdir(exist_ok=True)
        for path, kept in self._files.items():
            if not path.exists():
                os.link(kept.aside, path)
            if path.read_bytes() != kept.content:
                with path.open("r+b") as file:
                    file.truncate(0)
                    file.write(kept.content)
        shutil.rmtree(self._aside)
