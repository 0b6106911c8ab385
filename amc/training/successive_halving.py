"""Choosing the best of many networks: all are trained a little, the better half twice as long, and so on.

Every rung is a training of its own, whose learning rate falls to zero: in the middle of a longer one networks cannot be
told apart, the rate is high there and what batch norms count lags behind. Weights are carried on from rung to rung, but
only to choose: the one chosen is fine-tuned anew, as if it had been alone, and so are those it is compared with.

References:
    Jamieson and Talwalkar, 2016, "Non-stochastic Best Arm Identification and Hyperparameter Optimization", AISTATS.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

Contestant = TypeVar("Contestant")

MOST = 32
"""Contestants are held in memory together."""
LAST = 4
"""Contestants of the last rung."""


class Rung(NamedTuple):
    """A round of the contest.

    Attributes:
        contestants: how many take part.
        steps: that each of them is trained in it.
    """

    contestants: int
    steps: int


def plan_rungs(contestants: int, steps: int) -> tuple[Rung, ...]:
    """Return the rungs of a contest: behind the last, which ``LAST`` reach, each has a share 1 / ``LAST`` of ``steps``.

    Args:
        contestants: how many there are, at least one.
        steps: of a whole training.
    """
    reached, total = [min(LAST, contestants)], [steps // LAST]
    while reached[0] < contestants:
        reached.insert(0, min(2 * reached[0], contestants))
        total.insert(0, total[0] // 2)
    before = (0, *total)
    return tuple(
        Rung(count, done - begun) for count, done, begun in zip(reached, total, before[: len(total)], strict=True)
    )


def cost_of(rungs: Sequence[Rung], scoring: int) -> int:
    """Return what rungs take, in steps; ``scoring`` is what it takes to score a network once."""
    return sum(rung.contestants * (rung.steps + scoring) for rung in rungs)


def choose_rungs(available: int, whole: int, steps: int, scoring: int, shortest: int) -> tuple[Rung, ...]:
    """Return the contest of the most contestants that, with the winner's training, takes no longer than some trainings.

    Args:
        available: contestants that there are, at least one.
        whole: trainings, at least one, and each scored once, that it may take as long as.
        steps: of a whole training.
        scoring: what it takes to score a network once, in steps.
        shortest: steps of a rung, at the least.

    Returns:
        No rung where there are no more contestants than trainings, or steps too few to tell contestants apart.
    """
    for contestants in range(min(available, MOST), whole, -1):
        rungs = plan_rungs(contestants, steps)
        if rungs[0].steps >= shortest and cost_of(rungs, scoring) <= (whole - 1) * (steps + scoring):
            return rungs
    return ()


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
