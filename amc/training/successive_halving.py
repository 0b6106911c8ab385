"""Choosing the best of many networks: all are trained a little, the better half twice as long, and so on.

A network that stays keeps its weights, its momentum and its place on one schedule of the learning rate: the one that
gets to the end was trained as if it had been alone.

References:
    Jamieson and Talwalkar, 2016, "Non-stochastic Best Arm Identification and Hyperparameter Optimization", AISTATS.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

Contestant = TypeVar("Contestant")

MOST = 32
"""Contestants are held in memory together, with their momentum."""


class Rung(NamedTuple):
    """A round of the contest.

    Attributes:
        contestants: how many take part.
        steps: that each of them has behind it at the end of the round.
    """

    contestants: int
    steps: int


def plan_rungs(contestants: int, steps: int) -> tuple[Rung, ...]:
    """Return the rungs that one of the contestants gets to the end of.

    Args:
        contestants: how many there are, at least one.
        steps: of a whole training.
    """
    rungs = [Rung(1, steps)]
    while rungs[0].contestants < contestants:
        after = rungs[0]
        rungs.insert(0, Rung(min(2 * after.contestants, contestants), after.steps // 2))
    return tuple(rungs)


def cost_of(rungs: Sequence[Rung], scoring: int) -> int:
    """Return what rungs take, in steps; ``scoring`` is what it takes to score a network once."""
    before = (0, *(rung.steps for rung in rungs))
    return sum(rung.contestants * (rung.steps - done + scoring) for rung, done in zip(rungs, before, strict=False))


def choose_rungs(available: int, whole: int, steps: int, scoring: int, shortest: int) -> tuple[Rung, ...]:
    """Return the contest of the most contestants that takes no longer than some whole trainings.

    Where there are no more contestants than that, or steps too few to tell them apart, all of its contestants are
    trained to the end.

    Args:
        available: contestants that there are, at least one.
        whole: trainings, at least one, and each scored once, that it may take as long as.
        steps: of a whole training.
        scoring: what it takes to score a network once, in steps.
        shortest: steps of the first rung, at the least.
    """
    for contestants in range(min(available, MOST), whole, -1):
        rungs = plan_rungs(contestants, steps)
        if rungs[0].steps >= shortest and cost_of(rungs, scoring) <= whole * (steps + scoring):
            return rungs
    return (Rung(min(available, whole), steps),)


def halve(
    contestants: Sequence[Contestant],
    rungs: Sequence[Rung],
    play: Callable[[int, Sequence[Contestant]], Sequence[tuple[float, ...]]],
) -> list[Contestant]:
    """Return those who get to the end of the last rung, best first.

    Args:
        contestants: at least as many as the first rung takes, the most promising first; the others are left out.
        rungs: of the contest.
        play: plays the rung of a number from 0, and returns how good each contestant is by then, higher being better.
    """
    running = list(contestants)
    for number, rung in enumerate(rungs):
        running = running[: rung.contestants]
        quality = play(number, running)
        order = sorted(range(len(running)), key=quality.__getitem__, reverse=True)
        running = [running[place] for place in order]
    return running
