"""What remains of many trials when accuracy and a resource both count."""

import math
from collections.abc import Callable, Iterable
from typing import TypeVar

from envs.costs.resource_use import RESOURCES, amount
from envs.search import Trial

Item = TypeVar("Item")


def pareto_front(trials: Iterable[Trial], resource: str) -> list[Trial]:
    """Return the trials that no other one beats.

    One beats another if its metric is not lower and it does not take more of the resource, and it is better in one of
    the two. Of trials that agree in both the earliest is returned. Whether a trial is within the target is not asked.

    Args:
        trials: of one problem.
        resource: field of ``Cost`` that counts, less is better.

    Returns:
        The front, from the smallest network to the largest; metric and resource both ascend strictly.

    Raises:
        ValueError: there is no such resource, or a trial does not know how much it takes.
    """
    if resource not in RESOURCES:
        raise ValueError(f"resource={resource!r}: must be one of {', '.join(RESOURCES)}")
    in_order = sorted(trials, key=lambda trial: trial.index)
    return undominated(in_order, lambda trial: (used(trial, resource), trial.evaluation.metric))


def undominated(items: Iterable[Item], place: Callable[[Item], tuple[float, float]]) -> list[Item]:
    """Return the items that no other one beats, from the cheapest to the dearest; of equal ones the first.

    Args:
        items: to choose from.
        place: (cost, metric) of an item, less and more being better.
    """
    front, best = [], -math.inf
    placed = sorted(((place(item), item) for item in items), key=lambda pair: (pair[0][0], -pair[0][1]))
    for (_, metric), item in placed:
        if metric > best:
            front.append(item)
            best = metric
    return front


def used(trial: Trial, resource: str) -> float:
    """Return how much of a resource the network of a trial takes.

    Raises:
        ValueError: the engine did not know.
    """
    taken = amount(trial.cost, resource)
    if taken is None:
        raise ValueError(f"resource={resource!r}: trial {trial.index} does not know how much it takes")
    return taken
