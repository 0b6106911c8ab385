"""The strategy that should lose least within a budget, by what the engine predicts: it takes no evaluation to find."""

import math
from collections.abc import Callable, Sequence
from heapq import heapify, heappop, heappush

import numpy as np
from numpy.typing import NDArray

from envs.constraint import ResourceBudget
from envs.engine.types import KnowsReconstructionError, Strategy

TINY = 1e-12
MOST = 0.999
"""Share that counts as lost at most."""

Errors = tuple[tuple[float, ...], ...]
Choices = list[int]
"""For every layer the index of one of its allowed numbers of units."""


NEEDS = {"reconstruct": True}
"""What a policy needs that goes by the reconstruction error."""


class LeastError:
    """Greedy removal: always from the layer whose predicted error grows least per resource that it saves.

    Errors are the greatest convex curves below the engine's, so that a dear step that opens up a cheap one does not
    stop a layer. Costs are the budget's own, and count what neighbours share. The savings of a step shrink as other
    layers shrink, so a step that was dearer than another stays so: few costs have to be computed anew (Minoux's lazy
    greedy). What the last step saved too much is given back where it helps most, until no layer can grow:
    such a strategy is executed as it is under every constraint.

    Args:
        budget: the limit to meet.
        compounded: go by ``compounded`` errors.

    Raises:
        ValueError: the engine does not know its reconstruction error.

    References:
        Minoux, 1978, "Accelerated greedy algorithms for maximizing submodular set functions".
    """

    def __init__(self, budget: ResourceBudget, compounded: bool = False) -> None:
        engine = budget.engine
        if not isinstance(engine, KnowsReconstructionError):
            raise ValueError(f"{type(engine).__name__} does not know its reconstruction error: take another policy")
        self._budget = budget
        self._ratios = budget.ratios
        known = [engine.reconstruction_error(step)[-len(ratios) :] for step, ratios in enumerate(budget.ratios)]
        self._errors: Errors = tuple(
            convex_minorant(list(zip(ratios, as_compounded(errors) if compounded else errors, strict=True)))
            for ratios, errors in zip(budget.ratios, known, strict=True)
        )

    @property
    def layers(self) -> int:
        """How many layers there are to weight."""
        return len(self._errors)

    def strategy(self, weights: NDArray[np.float64] | None = None) -> Strategy:
        """Return the strategy of least error.

        Args:
            weights: factors on the layers' errors; 1 for all if not given.
        """
        factors = [1.0] * len(self._errors) if weights is None else weights.tolist()
        errors = tuple(
            tuple(factor * error for error in layer) for factor, layer in zip(factors, self._errors, strict=True)
        )
        whole = [len(ratios) - 1 for ratios in self._ratios]
        return self._as_strategy(self._grow(self._shrink(whole, errors), errors))

    def _as_strategy(self, choices: Choices) -> Strategy:
        return tuple(ratios[choice] for ratios, choice in zip(self._ratios, choices, strict=True))

    def _usage(self, choices: Choices) -> float:
        return self._budget.usage(self._as_strategy(choices))

    def _usage_after(self, choices: Choices, step: int, change: int) -> float:
        return self._usage([choice + change * (other == step) for other, choice in enumerate(choices)])

    def _shrink(self, choices: Choices, errors: Errors) -> Choices:
        """Remove the cheapest step until the limit is met."""
        used = self._usage(choices)

        def price(step: int) -> float | None:
            now = choices[step]
            if now == 0:
                return None
            saved = used - self._usage_after(choices, step, -1)
            return (errors[step][now - 1] - errors[step][now]) / max(saved, TINY)

        queue = LazyQueue(price, len(choices))
        while used > self._budget.limit:
            step = queue.pop()
            if step is None:
                break  # all layers are at their minimum, which fits: the budget checks that
            choices[step] -= 1
            used = self._usage(choices)
            queue.push(step)
        return choices

    def _grow(self, choices: Choices, errors: Errors) -> Choices:
        """Add the step that helps most for its cost until none fits."""
        used = self._usage(choices)

        def price(step: int) -> float | None:
            now = choices[step]
            if now + 1 == len(errors[step]):
                return None
            after = self._usage_after(choices, step, 1)
            if after > self._budget.limit:
                return None
            return -(errors[step][now] - errors[step][now + 1]) / max(after - used, TINY)

        queue = LazyQueue(price, len(choices))
        while (step := queue.pop()) is not None:
            choices[step] += 1
            used = self._usage(choices)
            queue.push(step)
        return choices


def as_compounded(errors: Sequence[float]) -> tuple[float, ...]:
    """Return errors of layers in such a form that they add up where each layer loses a share of what it is given.

    What is left of the signal is the product of what every layer leaves of it; so the negative logarithms of that add
    up, and a layer that leaves next to nothing cannot be made up for by others. On recorded evaluations of ResNet-20 on
    CIFAR-10 at 0.3 and 0.15 of the FLOPs their sum ranks strategies with 0.90 and 0.42, that of the errors as they are
    with 0.82 and 0.26; on three other networks it makes 0.05 at most (``benchmarks/agent.md``).

    Args:
        errors: shares; above 1, as the sum over several readers of one group may be, they count as ``MOST``.
    """
    return tuple(-math.log1p(-min(max(error, 0.0), MOST)) for error in errors)


class LazyQueue:
    """Steps by price, where prices only rise: one is computed anew only when it comes up as the cheapest.

    Args:
        price: of a step now; ``None`` once it can be taken no more.
        steps: how many there are.
    """

    def __init__(self, price: Callable[[int], float | None], steps: int) -> None:
        self._price = price
        self._queue: list[tuple[float, int]] = [
            (cost, step) for step in range(steps) if (cost := price(step)) is not None
        ]
        heapify(self._queue)

    def push(self, step: int) -> None:
        """Put a step back in at its price."""
        cost = self._price(step)
        if cost is not None:
            heappush(self._queue, (cost, step))

    def pop(self) -> int | None:
        """Take the cheapest step out, ``None`` if none is left."""
        while self._queue:
            _, step = heappop(self._queue)
            cost = self._price(step)
            if cost is None:
                continue
            if not self._queue or (cost, step) <= self._queue[0]:
                return step
            heappush(self._queue, (cost, step))
        return None


def convex_minorant(points: Sequence[tuple[float, float]]) -> tuple[float, ...]:
    """Return the values, at the same places, of the greatest convex function that is nowhere above the points.

    Args:
        points: (place, value), places ascending.
    """
    hull: list[tuple[float, float]] = []
    for point in points:
        while len(hull) > 1 and _slope(hull[-2], hull[-1]) >= _slope(hull[-2], point):
            hull.pop()
        hull.append(point)
    places, values = zip(*hull, strict=True)
    return tuple(np.interp([place for place, _ in points], places, values).tolist())


def _slope(left: tuple[float, float], right: tuple[float, float]) -> float:
    return (right[1] - left[1]) / (right[0] - left[0])
