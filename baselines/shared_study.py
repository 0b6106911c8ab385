"""One study of Optuna that many searches share, in a database: each plays what nobody is at, and tells what came out.

The study is the record of what was proposed and by whom. A search that is killed leaves a trial that is running and
whose heart has stopped; another one, or the same when it is back, sees to it that it is played. Nothing is locked: a
trial's number is given by the database, and whether it counts follows from the trials with lower numbers, which
whoever holds it can see.
"""

import threading
import time
import warnings
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np

from envs.engine.types import Strategy
from envs.search import NothingPlayed, RecordTrials, play_strategy

if TYPE_CHECKING:
    import optuna
    from optuna.samplers import BaseSampler
    from optuna.storages import RDBStorage
    from optuna.trial import FrozenTrial

    Sampler = Callable[[int], BaseSampler]

BEAT_SECONDS = 10
"""Between two beats of a trial's heart."""
BEATS_MISSED = 3
"""After which it has stopped."""
WAIT_SECONDS = 0.5
TRIES = 10
"""Of connecting."""
PROBLEM = "problem"
"""What is noted of a study: what is searched."""
PLAYER, PLACE, AGAIN = "player", "place", "again"
"""What is noted of a trial: who plays it, as which of its own, and which trial it is played in place of."""


class SharedStudy:
    """What one search does with a study that others use, too.

    Args:
        storage: address of the database.
        name: of the study.
        player: tells this search from the others; the same when it comes back.
        trials: that the study is to have in the end, of all searches together.
        make_sampler: of a seed.
        seed: of this search.
        beat: seconds between two beats of a trial's heart.

    Raises:
        NothingPlayed: the database cannot be reached, or a package is missing.
    """

    def __init__(
        self,
        storage: str,
        name: str,
        player: str,
        trials: int,
        make_sampler: "Sampler",
        seed: int,
        beat: int = BEAT_SECONDS,
    ) -> None:
        import optuna

        self._player, self._count, self._make_sampler, self._seed = player, trials, make_sampler, seed
        self._beat = beat
        self._storage = connected(storage, beat)
        self._study = optuna.create_study(
            storage=self._storage, study_name=name, direction="maximize", load_if_exists=True
        )

    def search(self, env: RecordTrials, space: "Mapping[str, optuna.distributions.BaseDistribution]") -> None:
        """Play until the study is complete, or no episode is left.

        Raises:
            NothingPlayed: the study is of another problem.
        """
        try:
            self._check_problem(env)
            for trial in self._own()[: env.remaining]:
                self._play(env, trial.number, trial._trial_id, strategy_of(trial, space))
            while env.remaining and (asked := self._ask(space)) is not None:
                asked.set_user_attr(PLACE, len(env.trials))
                asked.set_user_attr(PLAYER, self._player)
                self._play(env, asked.number, asked._trial_id, tuple(asked.params[name] for name in space))
        finally:
            self._storage.remove_session()
            self._storage.engine.dispose()

    def _check_problem(self, env: RecordTrials) -> None:
        budget = env.problem.budget
        layers = [(layer.name, layer.units) for layer in budget.engine.layers]
        problem = f"{budget.resource} {budget.target:g} {zlib.crc32(repr(layers).encode()):x}"
        if self._study.user_attrs.get(PROBLEM, problem) != problem:
            raise NothingPlayed(f"study {self._study.study_name} is of another problem; choose another study.name")
        self._study.set_user_attr(PROBLEM, problem)

    def _own(self) -> "list[FrozenTrial]":
        """Return what this search played before it was killed, in order, the last one perhaps not to its end."""
        own = [trial for trial in self._trials() if trial.user_attrs.get(PLAYER) == self._player]
        return sorted(own, key=lambda trial: int(trial.user_attrs[PLACE]))

    def _play(self, env: RecordTrials, number: int, key: int, strategy: Strategy) -> None:
        from optuna.exceptions import UpdateFinishedTrialError
        from optuna.trial import TrialState

        with self._beating(key):
            trial = play_strategy(env, strategy)
        if self._study.get_trials(deepcopy=False)[number].state != TrialState.RUNNING:
            return
        try:
            self._study.tell(number, trial.reward)
        except (UpdateFinishedTrialError, ValueError):
            return  # its heart was late: another search was given it

    def _ask(self, space: "Mapping[str, optuna.distributions.BaseDistribution]") -> "optuna.Trial | None":
        """Return a trial that counts; none once the study is complete."""
        from optuna.trial import TrialState

        while True:
            self._bury()
            trials = self._trials()
            counted = [trial for trial in trials if counts(trial, trials, self._count)]
            if sum(trial.state == TrialState.COMPLETE for trial in counted) >= self._count:
                return None
            first = sum(AGAIN not in trial.user_attrs for trial in counted)
            if first >= self._count and not any(trial.state == TrialState.WAITING for trial in counted):
                time.sleep(WAIT_SECONDS)  # all are being played by others: one of them may die
                continue
            # A stream of random numbers a proposal: searches that come back do not propose the same again.
            words = np.random.SeedSequence((self._seed, len(trials))).generate_state(1)
            self._study.sampler = self._make_sampler(int(words[0]))
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "Heartbeat", UserWarning)  # hearts beat, see below
                asked = self._study.ask(dict(space))
            if counts(self._study.get_trials(deepcopy=False)[asked.number], self._trials(), self._count):
                return asked
            self._study.tell(asked, state=TrialState.FAIL)

    def _bury(self) -> None:
        """Have trials whose hearts have stopped, or never began to beat, played again, each once."""
        import optuna
        from optuna.exceptions import UpdateFinishedTrialError
        from optuna.trial import TrialState

        optuna.storages.fail_stale_trials(self._study)
        trials = self._trials()
        long_ago = datetime.now() - timedelta(seconds=2 * BEATS_MISSED * self._beat)
        for trial in trials:
            silent = trial.state == TrialState.RUNNING and PLAYER not in trial.user_attrs
            if silent and trial.datetime_start is not None and trial.datetime_start < long_ago:
                with suppress(UpdateFinishedTrialError):
                    self._storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)
        trials = self._trials()
        replaced = {trial.user_attrs.get(AGAIN) for trial in trials}
        for trial in trials:
            lost = trial.state == TrialState.FAIL and counts(trial, trials, self._count)
            if lost and trial.number not in replaced:
                self._study.enqueue_trial(trial.params, user_attrs={AGAIN: trial.number})

    def _trials(self) -> "list[FrozenTrial]":
        return self._study.get_trials(deepcopy=False)

    @contextmanager
    def _beating(self, key: int) -> Iterator[None]:
        from optuna.exceptions import StorageInternalError

        stopped = threading.Event()

        def beat() -> None:
            with suppress(StorageInternalError):  # who talks to the database next says so
                self._storage.record_heartbeat(key)
                while not stopped.wait(self._beat):
                    self._storage.record_heartbeat(key)
            self._storage.remove_session()

        heart = threading.Thread(target=beat, name="heart", daemon=True)
        heart.start()
        try:
            yield
        finally:
            stopped.set()
            heart.join()


def counts(trial: "FrozenTrial", trials: "Sequence[FrozenTrial]", wanted: int) -> bool:
    """Tell whether a trial is one of those that a study is to have, from those with lower numbers alone.

    Two searches may ask at the same time where one trial was left, or have the same one played again: then the lower
    number counts.

    Args:
        trial: it.
        trials: all, by number.
        wanted: how many the study is to have.
    """
    before = trials[: trial.number]
    again = trial.user_attrs.get(AGAIN)
    if again is None:
        return sum(AGAIN not in other.user_attrs for other in before) < wanted
    return all(other.user_attrs.get(AGAIN) != again for other in before)


def strategy_of(trial: "FrozenTrial", space: "Mapping[str, object]") -> Strategy:
    """Return the ratios of a trial, in forward order."""
    return tuple(float(trial.params[name]) for name in space)


def connected(storage: str, beat: int) -> "RDBStorage":
    """Connect to a database.

    Raises:
        NothingPlayed: that does not work. The message does not hold the address, in which a password may be.
    """
    from optuna.exceptions import StorageInternalError
    from optuna.storages import RDBStorage
    from sqlalchemy.exc import IntegrityError, ProgrammingError, SQLAlchemyError

    for left in reversed(range(TRIES)):
        try:
            return RDBStorage(storage, heartbeat_interval=beat, grace_period=BEATS_MISSED * beat)
        except (ImportError, SQLAlchemyError, StorageInternalError) as error:
            cause = error.__cause__ or error
            # Searches that begin at the same time all make the tables that are missing, and one of them is first.
            if left and isinstance(cause, IntegrityError | ProgrammingError):
                time.sleep(WAIT_SECONDS)
                continue
            kind = storage.partition(":")[0]
            raise NothingPlayed(f"storage={kind}://...: cannot be used ({type(cause).__name__})") from error
    raise AssertionError  # the last try returns or raises
