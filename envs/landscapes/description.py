"""What is known of a network that was recorded: layers, costs, and what its engine said before any evaluation."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from envs.costs.cost_table import CostTable
from envs.engine.types import Evaluation, Layer

RESOURCES = ("flops", "params", "memory")


@dataclass(frozen=True)
class Description:
    """A recorded network.

    Attributes:
        keys: of ``amc.search`` that say what was recorded.
        layers: the steps.
        costs: by resource, of those the engine knew as such tables.
        errors: reconstruction error of every choice of each layer; none where the engine did not know it.
        scores: of the units of each layer, descending; none where the engine did not know them.
        dense: how good the network is with every layer whole.
    """

    keys: tuple[str, ...]
    layers: tuple[Layer, ...]
    costs: Mapping[str, CostTable]
    errors: tuple[tuple[float, ...], ...] | None
    scores: tuple[tuple[float, ...], ...] | None
    dense: Evaluation

    def as_json(self) -> dict[str, Any]:
        """Return the description as JSON has it."""
        return asdict(self) | {"dense": self.dense._asdict()}


def read_description(found: Mapping[str, Any]) -> Description:
    """Return the description in what JSON holds."""
    layers = tuple(Layer(**{**layer, "choices": tuple(layer["choices"])}) for layer in found["layers"])
    costs = {
        name: CostTable(table["dense"], _rows(table["alone"]), _rows(table["pairs"]))
        for name, table in found["costs"].items()
    }
    errors, scores = (None if found[key] is None else _rows(found[key]) for key in ("errors", "scores"))
    return Description(tuple(found["keys"]), layers, costs, errors, scores, Evaluation(**found["dense"]))


def _rows(table: Sequence[Sequence[float]]) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(row) for row in table)
