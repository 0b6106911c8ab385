"""What jobs of a sweep failed of, beside their runs: for who looks on, and for the day after."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from amc.errors import RefusedInput
from amc.store.durable_files import read_file, write_file
from amc.store.typed_records import parse

FOLDER = ".failed"


class Failure(NamedTuple):
    """What a job failed of.

    Attributes:
        said: its error, in one line.
        log: path of its log; empty where there is none.
    """

    said: str
    log: str


def note_outcome(study: Path, run: Path, said: str | None, log: str = "") -> None:
    """Note what a job failed of, in a file of its own: jobs may run side by side. One that did not fail leaves none.

    Args:
        study: the folder of the sweep.
        run: that of the job, below it.
        said: the error, in one line; ``None`` where there is none.
        log: path of its log.

    Raises:
        StorageError: the file cannot be written.
    """
    path = study / FOLDER / f"{run.relative_to(study)}.json"
    if said is None:
        path.unlink(missing_ok=True)
    else:
        write_file(path, json.dumps(Failure(said, log)._asdict()))


def read_failures(study: Path) -> Iterator[tuple[Path, Failure]]:
    """Yield the folder of each run that failed, which may not be there, and what it failed of."""
    notes = study / FOLDER
    for path in sorted(notes.rglob("*.json")):
        try:
            failure = parse(Failure, read_file(path))
        except (RefusedInput, ValueError, OSError):  # gone meanwhile, or no note
            continue
        yield study / path.relative_to(notes).with_suffix(""), failure
