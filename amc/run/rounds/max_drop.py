"""The smallest network that loses no more than ``max_drop``: the target itself is searched for, by whatever policy.

The episodes are played in rounds, each with a target of its own. Where a round finds a strategy whose metric holds, the
next one aims lower, else higher: bisection of the logarithm of the target, between what ``min_keep`` leaves and the
smallest strategy so far whose metric held. The smallest of all is then the target of the run, and uniform ratios have
to meet the same. A strategy is judged before fine-tuning, by the repaired network's score on the search split; what is
found is judged again behind it.
"""

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

from amc.errors import ModelError
from amc.run.stage import SearchPlan, Stage, at_stage
from envs.costs.resource_use import use
from envs.engine.types import Evaluation
from envs.search import Trial

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
        ModelError: no strategy loses so little.
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
        raise ModelError(
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

    def __init__(self, sink: Callable[[Trial], None], before: int) -> None:
        self._sink, self._before = sink, before

    def __call__(self, trial: Trial) -> None:
        """Hand a trial on."""
        self._sink(replace(trial, index=trial.index + self._before))


class Round(Protocol):
    """Plays a round of a search."""

    def __call__(self, stage: Stage, *, episodes: int, before: int) -> list[Trial]:
        """Play so many episodes on a stage, behind so many trials of before, and return the new trials."""


class Lowest(NamedTuple):
    """What a search with ``max_drop`` came to.

    Attributes:
        stage: with the smallest target at which the metric holds.
        trials: of all rounds; feasible are those that meet this target and hold the metric.
        floor: what the metric must not fall below.
    """

    stage: Stage
    trials: list[Trial]
    floor: Floor

    def check(self, found: Evaluation) -> None:
        """See that what was found holds the metric behind fine-tuning, too.

        Raises:
            ModelError: it does not.
        """
        if not self.floor.holds(found.metric):
            raise ModelError(
                f"max_drop={self.floor.max_drop}: top-1 on search is {found.metric:.4f} behind fine-tuning and was "
                f"{self.floor.dense:.4f} dense; finetune.epochs or finetune.lr_factor may help"
            )


def search_lowest(plan: SearchPlan, stage: Stage, play: Round) -> Lowest | None:
    """Search for the smallest network that loses no more than the plan's ``max_drop``; ``None`` if it has none.

    Args:
        plan: of the run.
        stage: the run's only one.
        play: plays a round.

    Raises:
        ModelError: no strategy loses so little.
    """
    problem, budget = plan.problem, stage.problem.budget
    if problem.max_drop is None:
        return None
    dense = plan.score(stage.network).metric
    floor = Floor(dense, problem.max_drop, problem.resource)
    trials: list[Trial] = []

    def one_round(target: float, episodes: int) -> list[Trial]:
        posed = at_stage(plan, stage, stage.number, target)
        played = play(posed, episodes=episodes, before=len(trials))
        trials.extend(played)
        return played

    least = budget.usage(budget.floors) / budget.dense
    target = lowest_target(one_round, floor, budget.dense, least, problem.episodes)
    limit = target * budget.dense * (1 + 1e-9)
    posed = at_stage(plan, stage, stage.number, min(target * (1 + 1e-9), 1.0))
    return Lowest(posed, within(trials, floor, limit), floor)
