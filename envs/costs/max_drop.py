"""The smallest network that loses no more than ``max_drop``: the target itself is searched for, by whatever policy.

The episodes are played in rounds, each with a target of its own. Where a round finds a strategy whose metric holds, the
next one aims lower, else higher: bisection of the logarithm of the target, between what ``min_keep`` leaves and the
smallest strategy so far whose metric held. The smallest of all is then the target of the run, and uniform ratios have
to meet the same. A strategy is judged as it is scored, before fine-tuning.
"""

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from envs.costs.budget import ResourceBudget, TargetError
from envs.costs.resource_use import use
from envs.trial import Sink, Trial

log = logging.getLogger(__name__)
ROUNDS = 6


@dataclass(frozen=True)
class Floor:
    """What a network's metric must not fall below.

    Attributes:
        dense: metric of the dense network on the search split.
        max_drop: how much less is allowed.
        resource: what is to be small.
    """

    dense: float
    max_drop: float
    resource: str

    def holds(self, metric: float) -> bool:
        """Whether a metric is high enough; up to the last bit of a fraction of images."""
        return metric >= self.dense - self.max_drop - 1e-9

    def usage(self, trial: Trial) -> float:
        """Return how much of the resource a trial takes."""
        return use(trial.cost, self.resource)


def shares(episodes: int, rounds: int = ROUNDS) -> list[int]:
    """Return how many episodes every round has; none has none."""
    rounds = min(rounds, episodes)
    return [episodes // rounds + (number < episodes % rounds) for number in range(rounds)]


def lowest_target(
    play: Callable[[float, int], Sequence[Trial]], floor: Floor, dense: float, least: float, episodes: int
) -> float:
    """Play all rounds and return the smallest target at which the metric holds.

    Args:
        play: ``(target, episodes)`` -> the trials of a round.
        floor: what the metric must not fall below.
        dense: how much of the resource the dense network takes.
        least: fraction of it that has to be kept.
        episodes: of all rounds.

    Raises:
        TargetError: no strategy loses so little.
    """
    low, high, found = math.log(least), 0.0, False
    for number, share in enumerate(shares(episodes), 1):
        target = math.exp((low + high) / 2)
        trials = play(target, share)
        held = [floor.usage(trial) / dense for trial in trials if floor.holds(trial.evaluation.metric)]
        found = found or bool(held)
        low, high = (low, min(high, math.log(min(held)))) if held else (math.log(target), high)
        low = min(low, high)
        said = f"{min(held):.3g} of the {floor.resource} is enough" if held else "too few"
        log.info("round %d: target %.3g: %s", number, target, said)
    if not found:
        raise TargetError(
            f"max_drop={floor.max_drop}: no strategy loses so little, before fine-tuning; more episodes may help"
        )
    return math.exp(high)


def within(trials: Sequence[Trial], floor: Floor, limit: float) -> list[Trial]:
    """Return trials with what the run's target makes of them: feasible are those that meet it and hold the metric."""
    return [
        replace(trial, feasible=floor.usage(trial) <= limit and floor.holds(trial.evaluation.metric))
        for trial in trials
    ]


class Renumbered:
    """A sink that numbers the trials of a round behind those of the rounds before.

    Args:
        sink: is told of them.
        before: how many there were.
    """

    def __init__(self, sink: Sink, before: int) -> None:
        self._sink, self._before = sink, before

    def __call__(self, trial: Trial) -> None:
        """Hand a trial on."""
        self._sink(replace(trial, index=trial.index + self._before))


class Lowest(NamedTuple):
    """What a search with ``max_drop`` came to.

    Attributes:
        target: the smallest at which the metric holds.
        trials: of all rounds; feasible are those that meet this target and hold the metric.
    """

    target: float
    trials: list[Trial]


def play_rounds(
    play: Callable[[float, int, int], Sequence[Trial]], floor: Floor, budget: ResourceBudget, episodes: int
) -> Lowest:
    """Search for the smallest network whose metric holds.

    Args:
        play: ``(target, episodes, before)`` -> the trials of a round, numbered behind those of the rounds before.
        floor: what the metric must not fall below.
        budget: of the network, whatever its target.
        episodes: of all rounds.

    Raises:
        TargetError: no strategy loses so little.
    """
    trials: list[Trial] = []

    def one_round(target: float, share: int) -> Sequence[Trial]:
        played = play(target, share, len(trials))
        trials.extend(played)
        return played

    least = budget.usage(budget.floors) / budget.dense
    target = lowest_target(one_round, floor, budget.dense, least, episodes)
    target *= 1 + 1e-9  # guards against the last bit
    return Lowest(min(target, 1.0), within(trials, floor, target * budget.dense))
