"""Costs by tables: what an engine says of a strategy, for thousands of them at once, exactly."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from envs.costs.resource_use import amount
from envs.engine.types import Layer, PruningEngine

PROBES = 50
"""Strategies on which a table is compared with the engine it was read from."""
TOLERANCE = 1e-9

FloatArray = NDArray[np.float64]
Places = NDArray[np.intp]
"""For every layer the place of what it keeps among its choices, ``(..., layers)``."""
Kept = Sequence[int]


@dataclass(frozen=True)
class CostTable:
    """A resource as a function of the numbers of kept units, exactly.

    With every layer whole it is ``dense``. Pruning one layer changes it by an entry of ``alone``; pruning two changes
    it by a constant times the units that go from either besides: what connects them goes once.

    Attributes:
        dense: of the network with every layer whole.
        alone: for every layer what each of its choices changes, 0 for the last.
        pairs: the constant of two layers, symmetric with a diagonal of 0, ``(layers, layers)``.
    """

    dense: float
    alone: tuple[tuple[float, ...], ...]
    pairs: tuple[tuple[float, ...], ...]


class TableCost:
    """Computes a resource from its table.

    Args:
        layers: the steps.
        table: of the resource.
    """

    def __init__(self, layers: Sequence[Layer], table: CostTable) -> None:
        self._dense = table.dense
        self._alone = padded(table.alone)
        self._pairs = np.array(table.pairs, dtype=np.float64) / 2
        self._gone = padded([[layer.units - count for count in layer.choices] for layer in layers])
        self._steps = np.arange(len(layers))

    def __call__(self, places: Places) -> FloatArray:
        """Return the resource of strategies, shape ``(...)``."""
        gone = self._gone[self._steps, places]
        connected = ((gone @ self._pairs) * gone).sum(-1)
        total: FloatArray = self._dense + self._alone[self._steps, places].sum(-1) + connected
        return total


def padded(rows: Sequence[Sequence[float]]) -> FloatArray:
    """Return rows of different lengths as a matrix, filled up with the last of each."""
    longest = max(map(len, rows))
    return np.array([[*row, *[row[-1]] * (longest - len(row))] for row in rows], dtype=np.float64)


def cost_table(engine: PruningEngine, resource: str, seed: int = 0) -> CostTable:
    """Read a resource off an engine.

    Args:
        engine: whose costs are a pure function of the strategy.
        resource: that it knows.
        seed: of the strategies on which the table is compared with the engine.

    Raises:
        ValueError: the resource is no such function as ``CostTable`` describes, or the engine does not know it.
    """
    layers = engine.layers
    steps = range(len(layers))
    whole = [layer.units for layer in layers]

    def used(changes: Mapping[int, int]) -> float:
        kept = [changes.get(step, whole[step]) for step in steps]
        strategy = tuple(count / of for count, of in zip(kept, whole, strict=True))
        taken = amount(engine.cost(strategy), resource)
        if taken is None:
            raise ValueError(f"{type(engine).__name__} does not know {resource}")
        return taken

    dense = used({})
    alone = tuple(tuple(used({step: count}) - dense for count in layers[step].choices) for step in steps)
    pairs = np.zeros((len(layers), len(layers)))
    for one in steps:
        for other in range(one):
            least = {step: layers[step].choices[0] for step in (one, other)}
            gone = [whole[step] - count for step, count in least.items()]
            if all(gone):
                extra = used(least) - dense - alone[one][0] - alone[other][0]
                pairs[one, other] = pairs[other, one] = extra / (gone[0] * gone[1])
    table = CostTable(dense, alone, tuple(map(tuple, pairs.tolist())))
    _compare(TableCost(layers, table), layers, used, np.random.default_rng(seed), TOLERANCE * dense)
    return table


def _compare(
    cost: TableCost,
    layers: Sequence[Layer],
    used: Callable[[Mapping[int, int]], float],
    rng: np.random.Generator,
    tolerance: float,
) -> None:
    for _ in range(PROBES):
        places = np.array([rng.integers(len(layer.choices)) for layer in layers])
        kept = {step: layer.choices[places[step]] for step, layer in enumerate(layers)}
        told, real = float(cost(places)), used(kept)
        if abs(told - real) > tolerance:
            raise ValueError(f"the cost is not bilinear in the kept units: {real} at {kept}, the table says {told}")
