"""A process's operations on the files below a folder, one after the other, as they are about to happen.

What opens, renames, removes and makes is heard by an audit hook of Python, whoever calls it; writing and waiting for
the disk have no such event, and are heard where Python code calls ``os``. All files of this package are written so.
Files that Hydra and ``logging`` write through buffers of C are heard when they are opened.
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
TAKES_SPACE = {"open", "write", "mkdir", "rename", "fsync"}
NAMED = {"os.rename": "rename", "os.remove": "unlink", "os.rmdir": "rmdir", "os.mkdir": "mkdir"}


class Operation(NamedTuple):
    """What is about to happen.

    Attributes:
        kind: open, write, fsync, rename, unlink, mkdir or rmdir.
        path: of the file or folder, below the watched folder.
        content: of a write; of a rename where it goes; of an open whether it truncates.
    """

    kind: str
    path: Path
    content: Any = None


def watch(folder: Path, hear: Callable[[Operation], bytes | None]) -> None:
    """Hear of every operation of this process below a folder, from now on.

    Args:
        folder: absolute.
        hear: called before each; what it raises comes from the operation. What it returns for a write is written
            in the place of it.
    """
    root, busy = str(folder) + os.sep, False

    def tell(operation: Operation) -> bytes | None:
        nonlocal busy
        if busy or not f"{operation.path}{os.sep}".startswith(root):
            return None
        busy = True
        try:
            return hear(operation)
        finally:
            busy = False

    def audited(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and isinstance(arguments[0], str) and _writes(arguments[1], arguments[2]):
            truncates = bool((arguments[2] or 0) & os.O_TRUNC) or "w" in (arguments[1] or "")
            tell(Operation("open", Path(arguments[0]).absolute(), truncates))
        elif event in NAMED:
            target = Path(arguments[1]).absolute() if event == "os.rename" else None
            tell(Operation(NAMED[event], Path(arguments[0]).absolute(), target))

    write = os.write

    def telling_write(descriptor: int, content: Any, /) -> int:  # noqa: ANN401  bytes of any kind
        other = tell(Operation("write", _path_of(descriptor), bytes(content)))
        return write(descriptor, content if other is None else other)

    def telling_fsync(descriptor: int) -> None:
        tell(Operation("fsync", _path_of(descriptor)))
        # Nothing here loses power: waiting for a disk would only take time.
        os.fstat(descriptor)

    vars(os).update(write=telling_write, fsync=telling_fsync)
    sys.addaudithook(audited)


def _writes(mode: str | None, flags: int | None) -> bool:
    return bool((flags or 0) & WRITING) or any(letter in (mode or "") for letter in "wax+")


def _path_of(descriptor: int) -> Path:
    try:
        return Path(str(Path(f"/proc/self/fd/{descriptor}").readlink()).removesuffix(" (deleted)"))
    except OSError:
        return Path(os.devnull)
