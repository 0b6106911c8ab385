"""How much of one or several resources the networks that an engine can make may take."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from numbers import Real

from envs.costs.resource_use import RESOURCES, use, why_unreachable
from envs.engine.plugins import is_own
from envs.engine.types import Layer, PruningEngine, Strategy

# Guards comparisons of the form 0.3 * 10 >= 3 against the last bit.
ROUNDING_ERROR = 1e-9

# Ratios closer than this are one: actions are single precision.
NEGLIGIBLE = 1e-6


class TargetError(ValueError):
    """No strategy can meet the target."""


def minimum(layer: Layer, min_keep: float, units: int) -> int:
    """Return the smallest number of units that is allowed and not below ``min_keep`` of ``units``, or all there are.

    A residual block may go whatever ``min_keep`` is: what a layer has to keep, it has not.
    """
    if layer.is_block:
        return layer.choices[0]
    wanted = min_keep * units - ROUNDING_ERROR
    return next((choice for choice in layer.choices if choice >= wanted), layer.units)


@dataclass(frozen=True)
class ResourceBudget:
    """A limit on one resource of the networks an engine can make, and on others besides.

    Attributes:
        engine: knows the cost of a strategy.
        resource: what is limited, one of ``RESOURCES`` or one's own.
        target: fraction of the dense network's resource that may be kept, in (0, 1].
        min_keep: no layer keeps less than this fraction of its units, in (0, 1).
        units: for every layer the units that ``min_keep`` is a fraction of; more than it has where some went before.
            By default those it has.
        limits: targets of further resources, each to be met as well.

    Raises:
        TargetError: no strategy can meet a target.
        ValueError: the engine does not know a resource, or ``min_keep`` is no fraction.
    """

    engine: PruningEngine
    resource: str
    target: float
    min_keep: float
    units: tuple[int, ...] | None = None
    limits: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for resource in self.targets:
            if resource not in RESOURCES and not is_own("resources", resource):
                raise ValueError(f"resource={resource!r}: must be one of {', '.join(RESOURCES)}")
        if not 0 < self.min_keep < 1 - NEGLIGIBLE:
            raise ValueError(f"min_keep={self.min_keep}: must be above 0 and below 1, or there is nothing to choose")
        for resource, target in self.targets.items():
            self._check(resource, target)

    def _check(self, resource: str, target: float) -> None:
        if not _is_fraction(target):
            raise TargetError(f"target={target}: the fraction of {resource} to keep must be in (0, 1]")
        dense = self._used(resource, self._whole)
        if (least := self._used(resource, self.floors)) > target * dense:
            smallest = self._used(resource, tuple(layer.choices[0] / layer.units for layer in self.engine.layers))
            shares = (least / dense, smallest / dense)
            raise TargetError(why_unreachable(self.engine, resource, target, self.min_keep, *shares))

    @property
    def targets(self) -> dict[str, float]:
        """Every limit, by resource, the first one first."""
        return {self.resource: self.target, **self.limits}

    @property
    def _whole(self) -> Strategy:
        return (1.0,) * len(self.engine.layers)

    def _used(self, resource: str, strategy: Strategy) -> float:
        return use(self.engine.cost(strategy), resource)

    @cached_property
    def dense(self) -> float:
        """What the unpruned network uses."""
        return self._used(self.resource, self._whole)

    @cached_property
    def limit(self) -> float:
        """What a pruned network may use."""
        return self.target * self.dense

    @cached_property
    def _others(self) -> dict[str, float]:
        return {name: target * self._used(name, self._whole) for name, target in self.limits.items()}

    @cached_property
    def floors(self) -> Strategy:
        """The smallest keep ratio allowed for each layer, after rounding."""
        layers = self.engine.layers
        units = self.units or [layer.units for layer in layers]
        return tuple(
            minimum(layer, self.min_keep, count) / layer.units for layer, count in zip(layers, units, strict=True)
        )

    @cached_property
    def ratios(self) -> tuple[Strategy, ...]:
        """The keep ratios allowed for each layer, ascending from its floor to 1."""
        return tuple(
            tuple(choice / layer.units for choice in layer.choices if choice / layer.units >= floor)
            for layer, floor in zip(self.engine.layers, self.floors, strict=True)
        )

    def usage(self, strategy: Strategy) -> float:
        """Return how much of the resource the network pruned by ``strategy`` uses.

        With further limits, whichever is used up most counts: as much of the resource as that share of its limit. So
        the usage is above ``limit`` where any of them is exceeded.
        """
        cost = self.engine.cost(strategy)
        used = use(cost, self.resource)
        shares = (use(cost, name) / limit for name, limit in self._others.items())
        return max((used, *(share * self.limit for share in shares)))

    def fits(self, strategy: Strategy) -> bool:
        """Tell whether the network pruned by ``strategy`` is within the limit."""
        return self.usage(strategy) <= self.limit

    def execute(self, step: int, keep: float) -> float:
        """Return what rounding and ``min_keep`` make of the ratio wanted for layer ``step``."""
        return max(self.engine.layers[step].executed(keep), self.floors[step])


def _is_fraction(target: object) -> bool:
    """Whether a target, whatever a caller gave, is above 0 and at most 1."""
    return isinstance(target, Real) and 0 < float(target) <= 1
