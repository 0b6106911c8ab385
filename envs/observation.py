"""What the agent sees before each step: the 11 numbers of the AMC state, each in [0, 1]."""

import numpy as np
from numpy.typing import NDArray

from envs.engine.types import Layer, PruningEngine, Strategy

FEATURES = ("t", "n", "c", "h", "w", "stride", "k", "flops", "reduced", "rest", "previous")
"""Names of the entries; ``previous`` is a_{t-1} in the paper."""


def describe(layers: tuple[Layer, ...]) -> NDArray[np.float64]:
    """Return the eight features that depend on the layer alone, one row a layer.

    Each column is scaled by (x - min) / (max - min) over the layers, and is 0 where all layers agree.
    """
    rows = [
        (t, layer.outputs, layer.inputs, layer.height, layer.width, layer.stride, layer.kernel, layer.flops)
        for t, layer in enumerate(layers)
    ]
    table = np.array(rows, dtype=np.float64)
    low, high = table.min(axis=0), table.max(axis=0)
    return (table - low) / np.where(high > low, high - low, 1.0)


class Observer:
    """Turns the ratios executed so far into an observation.

    Args:
        engine: gives the layers and the FLOPs of a strategy.
    """

    def __init__(self, engine: PruningEngine) -> None:
        self._engine = engine
        self._description = describe(engine.layers)
        self._dense = self._flops(())
        flops = [layer.flops for layer in engine.layers]
        self._rest = [sum(flops[step + 1 :]) / sum(flops) for step in range(len(flops))]

    def __call__(self, prefix: Strategy) -> NDArray[np.float32]:
        """Return the observation after the ratios ``prefix`` were executed.

        After the last layer the description stays that of the last layer.
        """
        step = min(len(prefix), len(self._description) - 1)
        previous = prefix[-1] if prefix else 1.0
        reduced = 1 - self._flops(prefix) / self._dense
        return np.array((*self._description[step], reduced, self._rest[step], previous), dtype=np.float32)

    def _flops(self, prefix: Strategy) -> float:
        """Return the FLOPs with the layers after ``prefix`` left whole."""
        whole = (1.0,) * (len(self._engine.layers) - len(prefix))
        return self._engine.cost(prefix + whole).flops
