"""How much of a resource a network takes; and why a target cannot be met, and what could be asked for instead."""

import math
from collections.abc import Callable, Sequence

from envs.engine.choices import COSTS
from envs.engine.plugins import find
from envs.engine.types import Cost, KnowsNetwork, NetworkLayer, PruningEngine

RESOURCES = COSTS
"""Fields of ``Cost`` that can be limited; others are one's own functions of it."""
NAMED = 3
DIGITS = 4


def amount(cost: Cost, resource: str) -> float | None:
    """Return how much of a resource a network takes; ``None`` where its engine does not know it.

    Args:
        cost: of the network.
        resource: one of ``RESOURCES``, or one's own: a function of a cost that does not grow where less is kept.

    Raises:
        ValueError: there is no such resource, or its function returns no number above 0.
    """
    if resource in RESOURCES:
        known: float | None = getattr(cost, resource)
        return known
    function: Callable[[Cost], float] = find("resources", resource, {})
    used = float(function(cost))
    if not 0 < used < math.inf:
        raise ValueError(f"resource={resource} is {used} for {cost}: it must be a finite number above 0")
    return used


def use(cost: Cost, resource: str) -> float:
    """Return how much of a resource a network takes.

    Raises:
        ValueError: there is no such resource, or the engine does not know it.
    """
    used = amount(cost, resource)
    if used is None:
        raise ValueError(f"resource={resource!r}: the engine does not know it")
    return used


def above(share: float) -> str:
    """Return a fraction in four digits, rounded up, so that asking for it is asking for enough."""
    scale = 10**DIGITS
    return f"{min(math.ceil(share * scale - 1e-9) / scale, 1.0):.{DIGITS}g}"


def why_unreachable(
    engine: PruningEngine, resource: str, target: float, min_keep: float, least: float, smallest: float
) -> str:
    """Say what keeps a network from a target, and which target is the smallest that it can meet.

    Args:
        engine: knows the network's layers, if it can say anything of them.
        resource: what is limited.
        target: what was asked for.
        min_keep: smallest keep ratio of a layer.
        least: the share of the resource that is left with every layer at ``min_keep``.
        smallest: what is left with every layer at its smallest choice.
    """
    line = f"target={target}: the smallest that can be reached is {above(least)} of the {resource}"
    can_go = above(smallest) != above(least)
    line += f" with min_keep={min_keep} (without it {above(smallest)})" if can_go else ""
    layers = engine.network_layers if isinstance(engine, KnowsNetwork) else ()
    return line + _whole(layers, resource)


def _whole(layers: Sequence[NetworkLayer], resource: str) -> str:
    """Name the layers that no search makes smaller, those that take most first."""
    cost = [float(layer.params) if resource in ("params", "memory") else layer.flops for layer in layers]
    total = sum(cost)
    whole = [(value, layer) for value, layer in zip(cost, layers, strict=True) if value and not layer.searched]
    if not whole:
        return ""
    whole.sort(key=lambda pair: -pair[0])
    named = [f"{layer.name} ({value / total:.1%}) {layer.whole}" for value, layer in whole[:NAMED]]
    more = f"; and {len(whole) - NAMED} more" if len(whole) > NAMED else ""
    of_what = "parameters" if resource in ("params", "memory") else "FLOPs"
    share = sum(value for value, _ in whole) / total
    return f"; {share:.1%} of the {of_what} lie in layers kept whole: {'; '.join(named)}{more}"
