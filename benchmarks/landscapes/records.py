"""Raw records: a compressed file of JSON lines a network, which recording goes on from and fitting reads."""

import json
import lzma
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from envs.engine.types import Evaluation
from envs.landscapes.description import Description, read_description

RECORDS = Path(__file__).parent / "records"
SUFFIX = ".jsonl.xz"
DIGITS = 9
"""Significant digits of metrics and losses that are kept."""


class Row(NamedTuple):
    """One real evaluation.

    Attributes:
        source: what proposed the strategy; what begins with ``check`` is not fitted to.
        target: on FLOPs, that it was proposed for; 1 where it was for none.
        kept: units left in every layer.
        metric: as in ``Evaluation``, like the next two.
        loss: ...
        divergence: ...
    """

    source: str
    target: float
    kept: tuple[int, ...]
    metric: float
    loss: float
    divergence: float


class Record:
    """The evaluations of a network.

    Args:
        path: of the file, which is replaced whole, so that a kill leaves the old or the new one.
        description: of the network, where the file is not there yet.

    Attributes:
        description: of the network.
        rows: evaluations, in the order in which they were made.
        known: the same by kept units.

    Raises:
        SystemExit: the file describes another network.
    """

    def __init__(self, path: Path, description: Description | None = None) -> None:
        self._path = path
        self.rows: list[Row] = []
        if path.exists():
            head, *rows = map(json.loads, lzma.decompress(path.read_bytes()).decode().splitlines())
            self.description = read_description(head)
            self.rows = [Row(row[0], row[1], tuple(row[2]), row[3], row[4], row[5]) for row in rows]
            _agree(path, self.description, description)
        elif description is None:
            raise SystemExit(f"{path}: there is no such record")
        else:
            self.description = description
        self.known = {row.kept: row for row in self.rows}

    def add(self, source: str, target: float, kept: tuple[int, ...], evaluation: Evaluation) -> None:
        """Take in an evaluation of a strategy that was not recorded yet."""
        figures = (evaluation.metric, evaluation.loss, evaluation.divergence)
        row = Row(source, target, kept, *(float(f"{figure:.{DIGITS}g}") for figure in figures))
        self.rows.append(row)
        self.known[kept] = row

    def save(self) -> None:
        """Write the file."""
        lines = [self.description.as_json(), *self.rows]
        text = "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        part = self._path.with_suffix(".part")
        part.write_bytes(lzma.compress(text.encode()))
        part.replace(self._path)

    def fitted(self) -> list[Row]:
        """Return the evaluations that a surrogate may learn from."""
        return [row for row in self.rows if not row.source.startswith("check")]

    def held_out(self) -> list[Row]:
        """Return the evaluations of policies that it may not learn from."""
        return [row for row in self.rows if row.source.startswith("check")]


def recorded(folder: Path = RECORDS) -> Iterator[str]:
    """Yield the names of the networks that there are records of."""
    yield from sorted(path.name.removesuffix(SUFFIX) for path in folder.glob(f"*{SUFFIX}"))


def record_path(name: str, folder: Path = RECORDS) -> Path:
    """Return where the record of a network lies."""
    return folder / f"{name}{SUFFIX}"


def _agree(path: Path, found: Description, wanted: Description | None) -> None:
    if wanted is None:
        return
    differ: Sequence[str] = [
        key for key in ("layers", "costs") if json.dumps(found.as_json()[key]) != json.dumps(wanted.as_json()[key])
    ]
    if abs(found.dense.loss - wanted.dense.loss) > 1e-3 * abs(found.dense.loss):
        differ = [*differ, "the dense network's loss"]
    if differ:
        raise SystemExit(f"{path}: was recorded on another network ({', '.join(differ)}); give another --output")


def plain(value: Any) -> Any:  # noqa: ANN401  whatever JSON holds
    """Return a value as it comes back from JSON."""
    return json.loads(json.dumps(value))
