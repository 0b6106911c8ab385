"""Lines of JSON that a benchmark goes on from where it was stopped."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

Row = dict[str, Any]
PRIVATE = ("data.folder=", "cache_dir=", "threads=", "model.checkpoint=")
"""Keys that say something of this machine, and nothing of what is recorded."""


class Record:
    """The lines of a file: settings, then a measurement each.

    Args:
        path: of the file; a last line that a kill has torn is cut off.
        settings: that all lines were measured with.

    Attributes:
        rows: what was measured.
    """

    def __init__(self, path: Path, settings: Row) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = lines_of(path) if path.exists() else []
        if lines and lines[0] != settings:
            raise SystemExit(f"{path}: measured with other settings, {lines[0]}; give another --output")
        self._path = path
        self.rows: list[Row] = lines[1:]
        path.write_text("".join(json.dumps(line) + "\n" for line in (settings, *self.rows)))

    def add(self, row: Row) -> None:
        """Append a line."""
        self.rows.append(row)
        with self._path.open("a") as file:
            file.write(json.dumps(row) + "\n")


def lines_of(path: Path) -> list[Row]:
    """Return the lines of a record, settings first; a last line that a kill has torn is left out."""
    return [json.loads(line) for line in path.read_text().rpartition("\n")[0].splitlines()]


def without_private(keys: Sequence[str]) -> list[str]:
    """Return the keys of a configuration that say what is measured, in a record that others go on from."""
    return [key for key in keys if not key.startswith(PRIVATE)]
