"""Searches that share a study: none of its trials lost, none played for two."""

import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState, create_trial
from postgresql_server import postgresql_server

from baselines.optuna_search import OptunaSearch, make_sampler, quiet_optuna, ratio_space
from baselines.shared_study import AGAIN, PLACE, PLAYER, SharedStudy, connected, counts
from envs.engine.analytic import AnalyticEngine
from envs.pruning_env import PruningEnv
from envs.search import NothingPlayed, RecordTrials

DRIVER = """
import sys, time
from baselines.optuna_search import make_sampler, quiet_optuna, ratio_space
from baselines.shared_study import SharedStudy
from envs.engine.analytic import AnalyticEngine
from envs.pruning_env import PruningEnv
from envs.search import NothingPlayed, RecordTrials

class Slow(AnalyticEngine):
    def evaluate(self, strategy):
        time.sleep(0.02)
        return super().evaluate(strategy)

url, seed, trials = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
env = RecordTrials(PruningEnv(Slow(), target=0.5), trials)
with quiet_optuna():
    study = SharedStudy(url, "shared", f"seed {seed}", trials, lambda seed: make_sampler("random", seed), seed, beat=1)
    study.search(env, ratio_space(env))
"""
TRIALS, DRIVERS, KILLS = 400, 4, 20


def make_env(trials: int) -> RecordTrials:
    return RecordTrials(PruningEnv(AnalyticEngine(), target=0.5), trials)


def share(storage: str, env: RecordTrials, seed: int, trials: int) -> None:
    with quiet_optuna():
        study = SharedStudy(storage, "shared", f"seed {seed}", trials, lambda each: make_sampler("tpe", each), seed)
        study.search(env, ratio_space(env))


def trials_of(storage: str) -> list[FrozenTrial]:
    return optuna.load_study(study_name="shared", storage=storage).get_trials(deepcopy=False)


def complete(trials: list[FrozenTrial]) -> list[FrozenTrial]:
    return [trial for trial in trials if trial.state == TrialState.COMPLETE]


def numbered(*replaced: int | None) -> list[FrozenTrial]:
    """Trials that are played in place of others, or of their own."""
    found = []
    for number, again in enumerate(replaced):
        attributes = {} if again is None else {AGAIN: again}
        trial = create_trial(state=TrialState.RUNNING, user_attrs=attributes)
        trial.number = number
        found.append(trial)
    return found


def test_which_of_two_counts_follows_from_their_numbers() -> None:
    trials = numbered(None, None, 0, 0, None, None, 2)
    assert [counts(trial, trials, 3) for trial in trials] == [True, True, True, False, True, False, True]


def test_two_searches_share_one_budget_and_one_that_comes_back_plays_its_own_again(tmp_path: Path) -> None:
    storage = f"sqlite:///{tmp_path / 'study.db'}"
    first, second, back = make_env(4), make_env(12), make_env(12)
    share(storage, first, 1, 12)  # ended before the study was complete
    share(storage, second, 2, 12)
    assert (len(first.trials), len(second.trials)) == (4, 8)
    share(storage, back, 1, 12)
    assert [trial.strategy for trial in back.trials] == [trial.strategy for trial in first.trials]
    trials = trials_of(storage)
    assert len(trials) == len(complete(trials)) == 12
    assert Counter(trial.user_attrs[PLAYER] for trial in trials) == {"seed 1": 4, "seed 2": 8}
    assert [trial.value for trial in trials] == [trial.reward for trial in (*first.trials, *second.trials)]


def test_what_somebody_died_of_is_played_by_another(tmp_path: Path) -> None:
    storage = f"sqlite:///{tmp_path / 'study.db'}"
    share(storage, make_env(3), 1, 6)
    study = optuna.load_study(study_name="shared", storage=storage)
    died = study.ask(dict(ratio_space(make_env(1))))
    study.tell(died, state=TrialState.FAIL)  # as its heart had stopped
    lost = died.params
    env = make_env(6)
    share(storage, env, 2, 6)
    (again,) = [trial for trial in trials_of(storage) if trial.user_attrs.get(AGAIN) == died.number]
    assert again.state == TrialState.COMPLETE
    assert again.params == lost
    assert again.user_attrs[PLACE] == 0
    assert len(complete(trials_of(storage))) == 6
    assert len(env.trials) == 3


def test_a_sampler_that_runs_what_it_reads_is_not_shared() -> None:
    with pytest.raises(ValueError, match="sampler=cmaes"):
        OptunaSearch("cmaes", storage="sqlite://")


def test_a_database_that_is_not_there_is_refused_without_its_address() -> None:
    with pytest.raises(ValueError, match=r"storage=postgresql\+psycopg://...: cannot be used") as refused:
        OptunaSearch(storage="postgresql+psycopg://me:secret@127.0.0.1:1/none").search(make_env(2))
    assert "secret" not in str(refused.value)


@pytest.fixture
def postgresql() -> Iterator[str]:
    with postgresql_server() as address:
        yield address


def drive(storage: str, seed: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-W", "ignore", "-c", DRIVER, storage, str(seed), str(TRIALS)])


def begun(opened: optuna.storages.RDBStorage) -> optuna.Study:
    """Wait for the study that somebody else makes."""
    while True:
        try:
            return optuna.load_study(study_name="shared", storage=opened)
        except KeyError:
            time.sleep(1)


@pytest.mark.slow
def test_on_postgresql_four_searches_and_twenty_kills_leave_every_trial_once(postgresql: str) -> None:
    rng = random.Random(0)  # noqa: S311
    searches = {seed: drive(postgresql, seed) for seed in range(DRIVERS)}
    try:
        with quiet_optuna():
            opened = connected(postgresql, 1)
        study = begun(opened)
        for kill in range(KILLS):
            while len(complete(study.get_trials(deepcopy=False))) < (kill + 1) * TRIALS // (KILLS + 2):
                time.sleep(0.2)
            seed = rng.randrange(DRIVERS)
            searches[seed].kill()
            assert searches[seed].wait() == -signal.SIGKILL
            searches[seed] = drive(postgresql, seed)
        assert [search.wait(900) for search in searches.values()] == [0] * DRIVERS
    finally:
        for search in searches.values():
            search.kill()
            search.wait()
    trials = study.get_trials(deepcopy=False)
    opened.remove_session()
    opened.engine.dispose()
    done = complete(trials)
    assert len(done) == TRIALS
    assert all(counts(trial, trials, TRIALS) for trial in done)

    def origin(trial: FrozenTrial) -> int:
        return origin(trials[trial.user_attrs[AGAIN]]) if AGAIN in trial.user_attrs else trial.number

    assert len({origin(trial) for trial in done}) == TRIALS
    assert len({tuple(trial.params.values()) for trial in done}) == TRIALS
    assert not [trial for trial in trials if counts(trial, trials, TRIALS) and not trial.state.is_finished()]


def test_a_study_of_another_problem_is_refused(tmp_path: Path) -> None:
    storage = f"sqlite:///{tmp_path / 'study.db'}"
    share(storage, make_env(1), 1, 1)
    other = RecordTrials(PruningEnv(AnalyticEngine(), target=0.4), 1)
    with pytest.raises(NothingPlayed, match="study shared is of another problem"):
        share(storage, other, 2, 2)
