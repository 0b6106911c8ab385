"""What is known of a network that was recorded: layers, costs, and what its engine said before any evaluation."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.engine.types import Cost, Evaluation, Layer, PruningEngine

RESOURCES = ("flops", "params", "memory")
PROBES = 50
"""Strategies on which a cost table is compared with the engine it was read from."""
TOLERANCE = 1e-9

FloatArray = NDArray[np.float64]
Kept = Sequence[int]


@dataclass(frozen=True)
class CostTable:
    """A resource as a function of the numbers of kept units, exactly.

    With every layer whole it is ``dense``. Pruning one layer changes it by an entry of ``alone``; pruning two saves
    less than both alone, by a constant times the units that go from either: what connects them goes once.

    Attributes:
        dense: of the network with every layer whole.
        alone: for every layer what each of its choices changes, 0 for the last.
        pairs: the constant of two layers, symmetric with a diagonal of 0, ``(layers, layers)``.
    """

    dense: float
    alone: tuple[tuple[float, ...], ...]
    pairs: tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Description:
    """A recorded network.

    Attributes:
        keys: of ``amc.search`` that say what was recorded.
        layers: the steps.
        costs: by resource, of those the engine knew.
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


def cost_table(engine: PruningEngine, resource: str, seed: int = 0) -> CostTable:
    """Read a resource off an engine.

    Args:
        engine: whose costs are a pure function of the strategy.
        resource: field of ``Cost`` that it fills in.
        seed: of the strategies on which the table is compared with the engine.

    Raises:
        ValueError: the resource is no such function as ``CostTable`` describes, or the engine does not know it.
    """
    layers = engine.layers
    units = [layer.units for layer in layers]
    steps = range(len(layers))

    def used(kept: Kept) -> float:
        strategy = tuple(count / of for count, of in zip(kept, units, strict=True))
        amount: float | None = getattr(engine.cost(strategy), resource)
        if amount is None:
            raise ValueError(f"{type(engine).__name__} does not know {resource}")
        return amount

    def pruned(changes: Mapping[int, int]) -> list[int]:
        return [changes.get(step, units[step]) for step in steps]

    dense = used(units)
    alone = tuple(tuple(used(pruned({step: c})) - dense for c in layers[step].choices) for step in steps)
    pairs = np.zeros((len(layers), len(layers)))
    for one in steps:
        for other in range(one):
            least = {step: layers[step].choices[0] for step in (one, other)}
            gone = [units[step] - count for step, count in least.items()]
            if all(gone):
                extra = used(pruned(least)) - dense - alone[one][0] - alone[other][0]
                pairs[one, other] = pairs[other, one] = extra / (gone[0] * gone[1])
    table = CostTable(dense, alone, _rows(pairs.tolist()))
    _compare(table, layers, used, np.random.default_rng(seed), resource)
    return table


def _compare(
    table: CostTable, layers: Sequence[Layer], used: Callable[[Kept], float], rng: np.random.Generator, resource: str
) -> None:
    model = CostModel(layers, {resource: table})
    for _ in range(PROBES):
        kept = [int(rng.choice(layer.choices)) for layer in layers]
        told, real = model.amounts(kept)[resource], used(kept)
        if abs(told - real) > TOLERANCE * table.dense:
            raise ValueError(f"{resource} is not bilinear in the kept units: {real} at {kept}, the table says {told}")


class CostModel:
    """Computes costs from tables.

    Args:
        layers: the steps.
        tables: by resource.
    """

    def __init__(self, layers: Sequence[Layer], tables: Mapping[str, CostTable]) -> None:
        self._units = np.array([layer.units for layer in layers], dtype=np.float64)
        self._index = [{count: place for place, count in enumerate(layer.choices)} for layer in layers]
        self._tables = {
            name: (table.dense, table.alone, np.array(table.pairs) / 2) for name, table in tables.items()
        }

    def cost(self, kept: Kept) -> Cost:
        """Return the cost with ``kept`` units left in every layer; each must be one of the layer's choices."""
        used = self.amounts(kept)
        return Cost(used["flops"], used["params"], used.get("memory"))

    def amounts(self, kept: Kept) -> dict[str, float]:
        """Return what the network takes of every resource that there is a table of."""
        gone = self._units - np.asarray(kept, dtype=np.float64)
        places = [index[count] for index, count in zip(self._index, kept, strict=True)]
        used = {}
        for name, (dense, alone, pairs) in self._tables.items():
            changed = sum([changes[place] for changes, place in zip(alone, places, strict=True)])
            used[name] = dense + changed + float(gone @ pairs @ gone)
        return used
