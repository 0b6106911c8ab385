"""What made a run: the command, the version, and how long each part took. It lies beside what can be repeated."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import amc
from amc.errors import UserError
from amc.store.digests import parse_sealed, sealed
from amc.store.durable_files import read_file
from amc.store.typed_records import Number

MADE = "made.json"


@dataclass(frozen=True)
class Provenance:
    """What made a run.

    Attributes:
        command: that does it again, as it was given.
        version: of this package.
        seconds: how long parts of the run took, by name, in their order; of a run that went on after it was cut short,
            in the process that finished it.
    """

    command: str = ""
    version: str = amc.__version__
    seconds: dict[str, Number] = field(default_factory=dict)

    def as_json(self) -> str:
        """Return what ``made.json`` holds."""
        return json.dumps(sealed(asdict(self)), indent=1) + "\n"


def read_provenance(folder: Path) -> Provenance | None:
    """Read what made a run; ``None`` where it did not say, or where that is damaged: nothing else depends on it."""
    try:
        made: Provenance = parse_sealed(Provenance, read_file(folder / MADE)).record
    except (UserError, OSError, ValueError):
        return None
    return made


class Stopwatch:
    """Takes the time of one part of a run after the other.

    Attributes:
        seconds: by part, in the order in which they began.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Take the time of a block; blocks of one name add up."""
        before, start = self.seconds.setdefault(name, 0.0), time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = before + time.perf_counter() - start
