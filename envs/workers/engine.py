"""The engine of a driver whose strategies are evaluated by workers."""

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from envs.engine.types import Cost, Evaluation, Layer, PruningEngine, Strategy
from envs.workers.crew import Answer, Crew, WorkersLost
from envs.workers.settings import EACH

LOSSES = 5
"""Workers that a strategy, or the start of workers, may cost before the fault is taken to be there."""
PATIENCE = 2.0
"""Times the longest evaluation so far, after which an evaluation is begun a second time where a worker is free."""
LEAST_PATIENCE = 2.0
"""Seconds before which that is not worth it."""
INDEPENDENT = 8
"""Strategies for each worker that are asked for where they do not depend on each other."""
OFFERED = ("network_layers", "reconstruction_error", "unit_scores")
"""What engines may offer by the protocols of ``envs.engine.types``. Since Python 3.12 ``isinstance`` does not ask
``__getattr__`` whether an object does."""


@dataclass(eq=False)
class _Task:
    """An evaluation that is waited for; ``begun`` is when, for each worker that is at it."""

    strategy: Strategy
    evaluation: Evaluation | None = None
    error: Exception | None = None
    lost: int = 0
    begun: dict[int, float] = field(default_factory=dict)

    @property
    def is_done(self) -> bool:
        return self.evaluation is not None or self.error is not None


class WorkersEngine(AbstractContextManager["WorkersEngine"]):
    """Stands in front of an engine: workers evaluate, the engine itself says all else.

    What comes out is in the order asked for, and does not depend on which worker was faster. A strategy whose worker
    died is handed to another one. One that takes much longer than others, as on a worker that hangs, is begun once
    more where a worker has nothing else to do, and whoever comes first is taken: evaluations are functions of the
    strategy, so both say the same. Every strategy is evaluated once as far as anyone outside can tell.

    Args:
        engine: of the driver.
        crew: the workers, whose engines are copies of it. Closed with this engine.
        patience: seconds that an evaluation is waited for at least before it is begun once more.
    """

    def __init__(self, engine: PruningEngine, crew: Crew, patience: float = LEAST_PATIENCE) -> None:
        self._engine, self._crew, self._patience = engine, crew, patience
        self._known: dict[tuple[int, ...], Evaluation] = {}
        self._open: dict[tuple[int, ...], _Task] = {}
        self._waiting: deque[_Task] = deque()
        self._idle: list[int] = []
        self._busy: dict[int, _Task] = {}
        self._longest = 0.0
        self._failed_starts = 0
        for name in OFFERED:
            if (offer := getattr(engine, name, None)) is not None:
                setattr(self, name, offer)

    def __exit__(self, *_: object) -> None:
        self._crew.close()

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  whatever the engine has
        """Return what the engine of the driver offers beside."""
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._engine, name)

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The steps of the MDP, in forward order."""
        return self._engine.layers

    @property
    def ahead(self) -> int:
        """How many strategies should be asked for before the evaluation of the first is known."""
        return EACH * self._crew.size

    @property
    def at_once(self) -> int:
        """How many strategies keep all workers busy, the slow ones among them, while evaluations are taken in order."""
        return INDEPENDENT * self._crew.size

    def cost(self, strategy: Strategy) -> Cost:
        """Return what the network pruned by ``strategy`` takes."""
        return self._engine.cost(strategy)

    def evaluate(self, strategy: Strategy) -> Evaluation:
        """Have a worker evaluate a strategy, and wait for it."""
        return self.evaluate_many([strategy])[0]

    def evaluate_many(self, strategies: Sequence[Strategy]) -> list[Evaluation]:
        """Have workers evaluate strategies side by side, see ``envs.engine.types.EvaluatesMany``."""
        return list(self.evaluate_ahead(iter(strategies), max(1, len(strategies))))

    def evaluate_ahead(self, strategies: Iterator[Strategy], ahead: int) -> Iterator[Evaluation]:
        """Evaluate strategies in their order, see ``envs.engine.types.EvaluatesAhead``.

        Raises:
            WorkersLost: workers die wherever they are handed a strategy, or before they are ready.
            Exception: what evaluating a strategy raised, when it is that one's turn.
        """
        asked: deque[_Task] = deque()
        while True:
            while len(asked) < ahead and (strategy := next(strategies, None)) is not None:
                asked.append(self._task(strategy))
                self._hand_out()
            if not asked:
                return
            while not asked[0].is_done:
                self._work(asked)
            task = asked.popleft()
            if task.error is not None:
                raise task.error
            assert task.evaluation is not None  # noqa: S101  it is done
            yield task.evaluation

    def remember(self, strategy: Strategy, evaluation: Evaluation) -> None:
        """Have an evaluation looked up that was made before, such as by a run that was cut short."""
        self._known[self._kept(strategy)] = evaluation
        if hasattr(self._engine, "remember"):
            self._engine.remember(strategy, evaluation)

    def _kept(self, strategy: Strategy) -> tuple[int, ...]:
        return tuple(layer.kept(keep) for layer, keep in zip(self.layers, strategy, strict=True))

    def _task(self, strategy: Strategy) -> _Task:
        kept = self._kept(strategy)
        if kept in self._known:
            return _Task(strategy, self._known[kept])
        if kept not in self._open:
            self._open[kept] = _Task(strategy)
            self._waiting.append(self._open[kept])
        return self._open[kept]

    def _hand_out(self) -> None:
        while self._idle and self._waiting:
            self._begin(self._waiting.popleft())

    def _begin(self, task: _Task) -> None:
        worker = self._idle.pop(0)
        task.begun[worker] = monotonic()
        self._busy[worker] = task
        self._crew.hand(worker, task.strategy)

    def _work(self, asked: deque[_Task]) -> None:
        """Hand out what waits, and take what workers have to say."""
        self._hand_out()
        slow = next((task for task in asked if not task.is_done and len(task.begun) == 1), None)
        seconds = None
        if self._idle and slow is not None and self._longest:
            patience = max(self._patience, PATIENCE * self._longest)
            seconds = max(0.0, min(slow.begun.values()) + patience - monotonic())
            if not seconds:
                self._begin(slow)
                return
        for answer in self._crew.wait(seconds):
            self._take(answer)

    def _take(self, answer: Answer) -> None:
        task = self._busy.pop(answer.worker, None)
        if answer.lost:
            self._lose(answer, task)
            return
        self._idle.append(answer.worker)
        if task is None:  # it is ready
            self._failed_starts = 0
            return
        begun = task.begun.pop(answer.worker)
        if task.is_done:
            return
        self._longest = max(self._longest, monotonic() - begun)
        del self._open[self._kept(task.strategy)]
        task.evaluation, task.error = answer.evaluation, answer.error
        if answer.evaluation is not None:
            self.remember(task.strategy, answer.evaluation)

    def _lose(self, answer: Answer, task: _Task | None) -> None:
        if answer.worker in self._idle:
            self._idle.remove(answer.worker)
        elif task is None:
            self._failed_starts += 1
            if self._failed_starts > LOSSES:
                raise WorkersLost(f"{self._failed_starts} workers in a row died before they were ready: {answer.lost}")
        if task is None or task.is_done:
            return
        del task.begun[answer.worker]
        task.lost += 1
        if task.lost > LOSSES:
            raise WorkersLost(
                f"{task.lost} workers died of one strategy ({answer.lost}): fewer workers need less memory"
            )
        if not task.begun:
            self._waiting.appendleft(task)
