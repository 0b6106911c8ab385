"""A table of latencies: a JSON file, checked, and the model that predicts from it; docs/reference/latency_table.md."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field

from amc.errors import RefusedInput
from amc.measurement.on_device import TABLE
from amc.store.digests import parse_sealed
from amc.store.durable_files import read_file
from amc.store.typed_records import parse
from envs.engine.latency import KINDS, LayerShape, TimedLayer

_Count = Annotated[int, Field(ge=1, le=1 << 20)]
_Axis = Annotated[int, Field(ge=0, le=1 << 20)]
_Milliseconds = Annotated[float, Field(gt=0, lt=1e7)]
BLOCKS = (64, 32, 16, 8, 4, 2)
SAME_TIME, MOSTLY = 1.08, 0.85
"""Counts of one block take equally long, up to noise, in most cases."""
FRESH = 16
"""Counts of fewer channels than this say nothing of blocks: kernels read what is there."""


class LayerRow(NamedTuple):
    """Times of one layer: a shape as in ``LayerShape``, pairs of counts, and the milliseconds of each pair."""

    kind: Literal["conv", "depthwise", "linear"]
    kernel: tuple[_Count, ...]
    stride: tuple[_Count, ...]
    padding: tuple[_Axis, ...]
    dilation: tuple[_Count, ...]
    size: tuple[_Count, ...]
    groups: _Count
    counts: tuple[tuple[_Count, _Count], ...]
    ms: tuple[_Milliseconds, ...]
    axis: Literal["", "inputs", "outputs"] = ""

    @property
    def shape(self) -> LayerShape:
        """What the layer computes."""
        return LayerShape(self.kind, self.kernel, self.stride, self.padding, self.dilation, self.size, self.groups)


class NetworkRow(NamedTuple):
    """A whole network: its layers as ``(number in the table, inputs, outputs, calls)``, and its milliseconds."""

    layers: tuple[tuple[_Axis, _Count, _Count, _Count], ...]
    ms: _Milliseconds


@dataclass(frozen=True)
class LatencyTable:
    """What a table file holds."""

    format: str
    runtime: str
    version: str
    batch: _Count
    threads: _Count
    machine: dict[str, str | int | None]
    layers: tuple[LayerRow, ...]
    staircases: tuple[LayerRow, ...]
    networks: tuple[NetworkRow, ...]


@dataclass(frozen=True)
class _Formatted:
    """What tells whether the rest can be read."""

    format: object = None


def read_table(path: Path) -> LatencyTable:
    """Read a table; every value in it is checked.

    Raises:
        RefusedInput: it is missing, damaged, no table, or of another version; one line names the field.
    """
    return parse_table(read_file(path), str(path))


def parse_table(content: bytes | str, path: str) -> LatencyTable:
    """Build a table from the content of a file.

    Args:
        content: JSON.
        path: of the file, for messages.

    Raises:
        RefusedInput: it is damaged, no table, or of another version.
    """
    try:
        written = parse(_Formatted, content, extra="ignore").format
        if written != TABLE:
            raise RefusedInput(f"{path}: format is {written!r:.60}, this version reads {TABLE!r}: measure it again")
        table, verified = parse_sealed(LatencyTable, content)
    except ValueError as error:
        raise RefusedInput(f"{path}: no latency table ({error}): measure it again") from error
    if not verified:
        raise RefusedInput(f"{path}: sha256 is missing: it was cut short or changed by hand; measure it again")
    problem = _fault(table)
    if problem:
        raise RefusedInput(f"{path}: {problem}: measure it again")
    return table


def _fault(table: LatencyTable) -> str:
    for name, rows in (("layers", table.layers), ("staircases", table.staircases)):
        for number, row in enumerate(rows):
            if len(row.counts) != len(row.ms) or not row.counts:
                return f"{name}.{number}.ms has {len(row.ms)} times for {len(row.counts)} counts"
            axes = {len(axis) for axis in (row.kernel, row.stride, row.padding, row.dilation)}
            if len(axes) != 1 or (row.kind != "linear" and len(row.size) not in axes):
                return f"{name}.{number}.kernel has not one number for each axis"
    if len(table.networks) < len(KINDS) + 3:
        return f"networks has {len(table.networks)}, too few to fit"
    most = len(table.layers)
    for number, network in enumerate(table.networks):
        if any(layer[0] >= most for layer in network.layers):
            return f"networks.{number}.layers names a layer beyond the {most} of the table"
    return ""


def check_covers(table: LatencyTable, layers: Sequence[TimedLayer], path: str) -> None:
    """Refuse a table that was measured for another network.

    Raises:
        RefusedInput: it lacks a layer, or has it with fewer channels.
    """
    rows = {row.shape: row for row in table.layers}
    for layer in layers:
        row = rows.get(layer.shape)
        if row is None:
            raise RefusedInput(f"{path}: layers lacks {layer.shape}: it was measured for another network")
        most = [max(pair[side] for pair in row.counts) for side in (0, 1)]
        if layer.inputs > most[0] or layer.outputs > most[1]:
            raise RefusedInput(
                f"{path}: layers has {layer.shape} up to {most[0]} to {most[1]} channels, not "
                f"{layer.inputs} to {layer.outputs}: it was measured for a narrower network"
            )


def block_of(table: LatencyTable) -> int:
    """Return how many channels the runtime computes at once: the largest that whole blocks of take the same time.

    It is 1 where no staircase was measured.
    """
    if not table.staircases:
        return 1
    return next((block for block in BLOCKS if all(_is_block(row, block) for row in table.staircases)), 1)


def _is_block(row: LayerRow, block: int) -> bool:
    times = _along(row)
    inside = [count for count in times if count > FRESH and -(-count // block) * block in times]
    same = [times[-(-count // block) * block] <= SAME_TIME * times[count] for count in inside]
    return bool(same) and sum(same) >= MOSTLY * len(same) and block < max(times)


def _along(row: LayerRow) -> dict[int, float]:
    side = 0 if row.axis == "inputs" else 1
    return {pair[side]: ms for pair, ms in zip(row.counts, row.ms, strict=True)}


def machine_words(machine: Mapping[str, Any]) -> str:
    """Return a machine in a few words."""
    return f"{machine.get('processor') or machine.get('architecture')}, {machine.get('system')}"
