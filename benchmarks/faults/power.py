"""A disk that keeps what it was told to keep: what a power failure would leave of a run, at its worst.

A file's content is safe behind ``fsync`` of the file, its name behind ``fsync`` of its folder, and a folder's own name
behind that of the folder above. Nothing else is: POSIX promises no more. Worst are

- names and contents as they are safe;
- names as they are now, with contents as they are safe: what file systems do that write names early;
- the same with half of what was written behind that, and zeros up to its length: what blocks that were not written do.
"""

from collections.abc import Iterator
from pathlib import Path

from benchmarks.faults.operations import Operation
from benchmarks.faults.states import UNREAD, Content


class _File:
    def __init__(self) -> None:
        self.content = self.safe = b""


class Disk:
    """What of a folder is where.

    Args:
        root: the folder, empty, itself safe.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._now: dict[Path, _File | None] = {}
        self._safe: dict[Path, _File | None] = {}

    def apply(self, operation: Operation) -> None:
        """Do what a process does."""
        kind, path, now = operation.kind, operation.path, self._now
        if kind == "open":
            file = now.setdefault(path, _File())
            if operation.content and file is not None:
                file.content = b""
        elif kind == "mkdir":
            now.setdefault(path, None)
        elif kind in ("unlink", "rmdir"):
            now.pop(path, None)
        elif kind == "rename" and path in now:
            now[operation.content] = now.pop(path)
        elif kind == "write":
            file = now.get(path)
            if file is not None:
                file.content += operation.content
        elif kind == "fsync":
            self._sync(path)

    def _sync(self, path: Path) -> None:
        file = self._now.get(path)
        if file is not None:
            file.safe = file.content
            return
        for known in [each for each in self._safe if each.parent == path and each not in self._now]:
            del self._safe[known]
        self._safe.update({each: file for each, file in self._now.items() if each.parent == path})

    def worst_states(self) -> Iterator[Content]:
        """Yield what may lie there behind a power failure."""
        yield self._reachable(self._safe, lambda file: file.safe)
        yield self._reachable(self._now, lambda file: file.safe)
        yield self._reachable(self._now, _torn)

    def _reachable(self, names: dict[Path, _File | None], content: "object") -> Content:
        found: dict[str, bytes | None] = {}
        for path, file in names.items():
            above = [folder for folder in path.parents if folder.is_relative_to(self._root) and folder != self._root]
            if path.suffix in UNREAD or path.name.endswith(".lock") or not all(folder in names for folder in above):
                continue
            found[str(path.relative_to(self._root))] = None if file is None else content(file)  # type: ignore[operator]
        return found


def _torn(file: _File) -> bytes:
    if file.content == file.safe:
        return file.content
    common = len(file.safe) if file.content.startswith(file.safe) else 0
    half = common + (len(file.content) - common) // 2
    return file.content[:half] + bytes(len(file.content) - half)
