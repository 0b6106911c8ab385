"""What pruned networks keep, layer by layer, and stage by stage where they were pruned in several."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from amc.store.typed_records import Number, Whole
from envs.engine.types import Layer


class LayerKept(NamedTuple):
    """How many channels, or other units, of a layer are kept: ``kept`` of ``of``, a ratio of ``keep``."""

    layer: str
    keep: Number
    kept: Whole
    of: Whole


def layers_kept(layers: Sequence[Layer], kept: Sequence[int]) -> tuple[LayerKept, ...]:
    """Return what every layer keeps when ``kept`` of its units are left."""
    rows = zip(layers, kept, strict=True)
    return tuple(LayerKept(layer.name, count / layer.units, count, layer.units) for layer, count in rows)


def positions(left: Sequence[LayerKept], layers: Sequence[tuple[str, int]]) -> list[int]:
    """Return where the layers of a network that was pruned stand among those of the network that it was cut from.

    Names alone do not tell: two steps that one layer reads are both named by it. Order and units do.

    Args:
        left: what is left of the first network, layer by layer.
        layers: name and units of the layers that can be pruned further. Those with nothing left to choose are absent.

    Raises:
        ValueError: they are other layers.
    """
    found: list[int] = []
    for name, units in layers:
        later = range(found[-1] + 1 if found else 0, len(left))
        position = next(
            (position for position in later if (left[position].layer, left[position].kept) == (name, units)), None
        )
        if position is None:
            raise ValueError(f"{name} with {units} units is not what the stage before left")
        found.append(position)
    return found


def composed(left: Sequence[LayerKept], strategy: Sequence[LayerKept]) -> tuple[LayerKept, ...]:
    """Return what is left of a network that was pruned once more, by a strategy of what was left before."""
    now = list(left)
    for position, row in zip(positions(left, [(row.layer, row.of) for row in strategy]), strategy, strict=True):
        before = left[position]
        now[position] = LayerKept(before.layer, row.kept / before.of, row.kept, before.of)
    return tuple(now)


@dataclass(frozen=True)
class StageKept:
    """What a stage of staged pruning came to.

    Attributes:
        target: fraction of the original network's resource that the stage could keep.
        flops: of its winner.
        params: of its winner.
        memory_bytes: of its winner.
        trials: strategies scored.
        search_seconds: what they took.
        search_top1_before_finetune: of the winner, on the search split.
        search_top1: of the winner, on the search split.
        strategy: what the winner keeps of the network that the stage began with.
    """

    target: Number
    flops: Whole
    params: Whole
    memory_bytes: Whole
    trials: Whole
    search_seconds: Number
    search_top1_before_finetune: Number
    search_top1: Number
    strategy: tuple[LayerKept, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return the stage as JSON holds it."""
        return asdict(self) | {"strategy": [row._asdict() for row in self.strategy]}
