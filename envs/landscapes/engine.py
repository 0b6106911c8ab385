"""An engine that answers from what was recorded of a real network. No torch."""

import hashlib
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import TYPE_CHECKING, NoReturn

import numpy as np

from envs.costs.cost_table import Places
from envs.engine.errors import NotKnown
from envs.engine.types import Cost, Evaluation, Layer, Strategy
from envs.landscapes.description import Description
from envs.landscapes.surrogate import Array, FeatureTable, Surrogate, evaluation_of


class CostOfOne:
    """Computes the cost of one strategy at a time, which is what constraints ask for hundreds of times an episode.

    Args:
        description: of the network.
    """

    def __init__(self, description: Description) -> None:
        tables = [description.costs.get(name) for name in Cost._fields]
        known = [place for place, table in enumerate(tables) if table is not None]
        self._known = known
        found = [table for table in tables if table is not None]
        self._dense = [table.dense for table in found]
        self._alone = [list(zip(*rows, strict=True)) for rows in zip(*(table.alone for table in found), strict=True)]
        self._gone = [[layer.units - count for count in layer.choices] for layer in description.layers]
        steps = range(len(description.layers))
        pairs = [(one, other, [table.pairs[one][other] for table in found]) for one in steps for other in range(one)]
        self._pairs = [(one, other, extra) for one, other, extra in pairs if any(extra)]

    def __call__(self, places: Sequence[int]) -> Cost:
        """Return the cost of the strategy at the places."""
        used = list(self._dense)
        for changes, place in zip(self._alone, places, strict=True):
            for number, change in enumerate(changes[place]):
                used[number] += change
        gone = [units[place] for units, place in zip(self._gone, places, strict=True)]
        for one, other, extra in self._pairs:
            both = gone[one] * gone[other]
            if both:
                for number, each in enumerate(extra):
                    used[number] += each * both
        amounts: list[float | None] = [None] * len(Cost._fields)
        for place, amount in zip(self._known, used, strict=True):
            amounts[place] = amount
        return Cost(*amounts)  # type: ignore[arg-type]


def _place(layer: Layer, keep: float) -> int:
    return layer.choices.index(layer.kept(keep))


class LandscapeEngine:
    """Stands in for a network that was recorded: its real layers, costs and errors, and evaluations from a surrogate.

    Args:
        description: of the network.
        surrogate: fitted to real evaluations of it.
        noise: whether evaluations scatter around the fitted ones as real ones do. The same strategy always gets the
            same evaluation, as from a real engine on one search split.
        seed: of the noise: another search split, so to speak.

    Attributes:
        description: of the network.
        unit_scores: of a layer, see ``envs.engine.types.KnowsUnitScores``; not there where the engine recorded knew
            none.
        reconstruction_error: of a layer, see ``envs.engine.types.KnowsReconstructionError``; likewise.
    """

    unit_scores: Callable[[int], tuple[float, ...]]
    reconstruction_error: Callable[[int], tuple[float, ...]]

    def __init__(self, description: Description, surrogate: Surrogate, noise: bool = False, seed: int = 0) -> None:
        self.description = description
        self._surrogate = surrogate
        self._noise = noise
        self._seed = seed
        self._features = FeatureTable(description)
        self._cost = CostOfOne(description)
        self._places = [cache(partial(_place, layer)) for layer in description.layers]
        known = {"unit_scores": description.scores, "reconstruction_error": description.errors}
        vars(self).update({name: rows.__getitem__ for name, rows in known.items() if rows is not None})

    if not TYPE_CHECKING:  # it would let every name pass

        def __getattr__(self, name: str) -> NoReturn:
            """Say that something is not known.

            Raises:
                NotKnown: the engine recorded did not know it.
                AttributeError: no engine has it.
            """
            if name in LandscapeEngine.__annotations__:
                raise NotKnown(f"{name} of this network was not recorded: its granularity leaves it unknown")
            raise AttributeError(f"{type(self).__name__} has no attribute {name}")

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The steps of the MDP, in forward order."""
        return self.description.layers

    def cost(self, strategy: Strategy) -> Cost:
        """Return what the network pruned by ``strategy`` takes."""
        return self._cost(self._places_of(strategy))

    def evaluate(self, strategy: Strategy) -> Evaluation:
        """Return what the pruned network should score."""
        places = np.array(self._places_of(strategy))
        outputs = self.outputs(places[None])[0]
        if self._noise:
            outputs = outputs + self._surrogate.noise * self._scatter(places)
        return evaluation_of(outputs, self.description.dense.n_samples)

    def outputs(self, places: Places) -> Array:
        """Return what the surrogate says of strategies ``(n, layers)`` at once, without noise, ``(n, 3)``."""
        return self._surrogate.outputs(self._features(places))

    def _places_of(self, strategy: Strategy) -> tuple[int, ...]:
        return tuple(place(keep) for place, keep in zip(self._places, strategy, strict=True))

    def _scatter(self, places: Places) -> Array:
        """Return standard normal numbers that belong to a strategy."""
        digest = hashlib.sha256(f"{self._seed} {places.tolist()}".encode()).digest()
        # One number for all outputs: an evaluation that is lucky in accuracy is so in loss.
        return np.full(3, np.random.default_rng(int.from_bytes(digest[:8])).standard_normal())
