"""The rules of the game, for thousands of strategies at once: what they cost, and what the agent sees of them."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from envs.constraint import ResourceBudget
from envs.costs.cost_table import FloatArray, Places, TableCost, cost_table, padded
from envs.engine.types import KnowsReconstructionError, Strategy

TOLERANCE = 1e-9


class Rules:
    """The strategies within a budget, as places among the choices of each layer.

    Costs are read off the engine once, into a table; where it knows none that a table can hold, such as a measured
    latency, it is asked for every strategy.

    Args:
        budget: the limit.

    Attributes:
        lowest: the first place that each layer may take.
        highest: the last.
    """

    def __init__(self, budget: ResourceBudget) -> None:
        self._budget = budget
        self.layers = budget.engine.layers
        counts = np.array([len(layer.choices) for layer in self.layers])
        self.lowest: Places = counts - [len(ratios) for ratios in budget.ratios]
        self.highest: Places = counts - 1
        self.ratios = padded([[count / layer.units for count in layer.choices] for layer in self.layers])
        self._steps = np.arange(len(self.layers))
        self._cost = tabulated_cost(budget)

    @property
    def tabulated(self) -> bool:
        """Whether costs of many strategies take no time."""
        return self._cost is not None

    def places_of(self, strategy: Strategy) -> Places:
        """Return the places of an executed strategy, ``(layers,)``."""
        kept = [layer.choices.index(layer.kept(keep)) for layer, keep in zip(self.layers, strategy, strict=True)]
        return np.array(kept)

    def strategy_of(self, places: Places) -> Strategy:
        """Return the strategy at ``places``, ``(layers,)``."""
        chosen: Sequence[int] = places.tolist()
        return tuple(layer.choices[place] / layer.units for layer, place in zip(self.layers, chosen, strict=True))

    def usage(self, places: Places) -> FloatArray:
        """Return how much of the resource strategies ``(n, layers)`` use."""
        if self._cost is not None:
            return self._cost(places)
        return np.array([self._budget.usage(self.strategy_of(each)) for each in places])

    def fits(self, places: Places) -> NDArray[np.bool_]:
        """Tell which strategies are within the limit."""
        # Tables are exact but for the last digits, which must not decide.
        return self.usage(places) <= self._budget.limit * (1 - TOLERANCE)

    def damage(self) -> FloatArray:
        """Return for every place of every layer what it loses by itself, 0 for a whole layer, ``(layers, places)``.

        That is the engine's reconstruction error, or where it knows none the square of what goes.
        """
        engine = self._budget.engine
        if not isinstance(engine, KnowsReconstructionError):
            gone: FloatArray = (1 - self.ratios) ** 2
            return gone
        rows = [engine.reconstruction_error(step)[-len(layer.choices) :] for step, layer in enumerate(self.layers)]
        return padded(rows)

    def look_up(self, table: FloatArray, places: Places) -> FloatArray:
        """Return the entries of a table ``(layers, places)`` for strategies ``(n, layers)``, ``(n, layers)``."""
        found: FloatArray = table[self._steps, places]
        return found


def tabulated_cost(budget: ResourceBudget) -> TableCost | None:
    """Return what strategies cost, off a table; none where a table cannot hold it: a measured time, several limits."""
    if budget.limits:
        return None
    try:
        return TableCost(budget.engine.layers, cost_table(budget.engine, budget.resource))
    except ValueError:
        return None
