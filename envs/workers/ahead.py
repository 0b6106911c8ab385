"""Asking for strategies ahead of their evaluations: what keeps several workers busy, and means the same without any."""

from collections import deque
from collections.abc import Iterator
from itertools import islice
from time import perf_counter
from typing import NamedTuple

from envs.engine.types import EvaluatesAhead, EvaluatesMany, Evaluation, PruningEngine, Strategy


class Scored(NamedTuple):
    """A strategy that was evaluated.

    Attributes:
        strategy: it.
        evaluation: what came out.
        waited: seconds that were spent here until it was there.
        seconds: its part of the time spent waiting: of strategies that were evaluated together, all have the same.
    """

    strategy: Strategy
    evaluation: Evaluation
    waited: float
    seconds: float


def evaluate_ahead(engine: PruningEngine, strategies: Iterator[Strategy], ahead: int) -> Iterator[Scored]:
    """Evaluate strategies in their order, of which up to ``ahead`` are asked for before the first is known.

    When a strategy is taken, the evaluations of all but the last ``ahead - 1`` before it are known: so what is asked
    for depends on ``ahead``, and on nothing else that an engine has.

    Args:
        engine: evaluates, with workers or without.
        strategies: taken as late as that allows.
        ahead: 1 for one after the other.
    """
    if isinstance(engine, EvaluatesAhead):
        yield from _by_workers(engine, strategies, ahead)
        return
    waiting: deque[Strategy] = deque()
    known: deque[Evaluation] = deque()
    while True:
        waiting.extend(islice(strategies, ahead - len(waiting)))
        if not waiting:
            return
        waited = 0.0
        if not known:
            start = perf_counter()
            known.extend(evaluate_all(engine, list(waiting)))
            waited = perf_counter() - start
            share = waited / len(known)
        yield Scored(waiting.popleft(), known.popleft(), waited, share)


def evaluate_all(engine: PruningEngine, strategies: list[Strategy]) -> list[Evaluation]:
    """Evaluate strategies, side by side where the engine can."""
    if isinstance(engine, EvaluatesMany) and len(strategies) > 1:
        return engine.evaluate_many(strategies)
    return [engine.evaluate(strategy) for strategy in strategies]


def _by_workers(engine: EvaluatesAhead, strategies: Iterator[Strategy], ahead: int) -> Iterator[Scored]:
    taken: deque[Strategy] = deque()
    asking = 0.0

    def noted() -> Iterator[Strategy]:
        nonlocal asking
        while True:
            start = perf_counter()
            strategy = next(strategies, None)
            asking += perf_counter() - start
            if strategy is None:
                return
            taken.append(strategy)
            yield strategy

    evaluations = engine.evaluate_ahead(noted(), ahead)
    while True:
        start, asking = perf_counter(), 0.0
        evaluation = next(evaluations, None)
        if evaluation is None:
            return
        waited = perf_counter() - start - asking
        yield Scored(taken.popleft(), evaluation, waited, waited)
