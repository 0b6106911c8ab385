import logging
import subprocess
import sys
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from baselines.known_strategies import known_strategies
from baselines.optuna_search import SAMPLERS, OptunaSearch, _replace, make_sampler, quiet_optuna, ratio_space
from envs.engine.analytic import BLOCKS, AnalyticEngine
from envs.pruning_env import CONSTRAINTS, PruningEnv
from envs.search import RecordTrials, play_strategy

EPISODES = 30


def make_env(constraint: str = "rescale") -> RecordTrials:
    return RecordTrials(PruningEnv(AnalyticEngine(), constraint=constraint), EPISODES)


@pytest.mark.parametrize("sampler", ["tpe", "cmaes", "nsga2", "random"])
@pytest.mark.parametrize("constraint", CONSTRAINTS)
def test_the_search_is_optunas_own_optimize(sampler: str, constraint: str) -> None:
    """The reference hands the loop to Optuna, and asks for one ratio after the other."""
    ours, theirs = make_env(constraint), make_env(constraint)
    OptunaSearch(sampler, seed=4).search(ours)

    def objective(trial: optuna.Trial) -> float:
        space = ratio_space(theirs).items()
        asked = tuple(trial.suggest_float(name, ratio.low, ratio.high) for name, ratio in space)
        return play_strategy(theirs, asked).reward

    with quiet_optuna():
        study = optuna.create_study(direction="maximize", sampler=make_sampler(sampler, 4))
        study.optimize(objective, n_trials=EPISODES)
    assert [trial.strategy for trial in ours.trials] == [trial.strategy for trial in theirs.trials]


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_it_may_start_from_what_is_known(sampler: str) -> None:
    env = make_env()
    OptunaSearch(sampler, start="known").search(env)
    known = known_strategies(env.problem)
    assert len(env.trials) == EPISODES
    assert env.trials[1].strategy == known["least compounded error"]
    assert env.best.reward >= max(trial.reward for trial in env.trials[: len(known)])


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_the_sampler_can_be_told_what_was_executed(sampler: str) -> None:
    env = make_env("bound")
    space = ratio_space(env)
    with quiet_optuna():
        study = optuna.create_study(direction="maximize", sampler=make_sampler(sampler, 0))
        for _ in range(13):
            asked = study.ask(dict(space))
            _replace(study, asked.number, play_strategy(env, tuple(asked.params.values())), space)
    told = [trial for trial in study.trials if trial.state == TrialState.COMPLETE]
    assert [(tuple(trial.params.values()), trial.value) for trial in told] == [
        (trial.strategy, trial.reward) for trial in env.trials
    ]
    assert not study.get_trials(states=[TrialState.RUNNING, TrialState.WAITING])


def test_cma_es_advances_by_what_was_executed() -> None:
    env = make_env()
    space = ratio_space(env)
    with quiet_optuna():
        study = optuna.create_study(direction="maximize", sampler=make_sampler("cmaes", 0))
        while env.remaining:
            asked = study.ask(dict(space))
            _replace(study, asked.number, play_strategy(env, tuple(asked.params.values())), space)
    generations = [trial.system_attrs.get("cma:generation", 0) for trial in study.trials]
    assert max(generations) >= 2


@pytest.mark.parametrize("tell_executed", [True, False])
def test_telling_what_was_executed_changes_the_search(tell_executed: bool) -> None:
    default, other = make_env(), make_env()
    OptunaSearch().search(default)
    OptunaSearch(tell_executed=tell_executed).search(other)
    assert (default.trials[-1].strategy == other.trials[-1].strategy) is not tell_executed


@pytest.mark.parametrize("sampler", ["tpe", "nsga2"])
def test_with_several_on_the_way_nothing_is_asked_for_twice(sampler: str) -> None:
    alone, ahead = (RecordTrials(PruningEnv(AnalyticEngine(BLOCKS[:4], round_to=8)), 24) for _ in range(2))
    OptunaSearch(sampler).search(alone)
    OptunaSearch(sampler, at_once=2).search(ahead)
    assert len({trial.strategy for trial in alone.trials}) < len({trial.strategy for trial in ahead.trials}) == 24
    assert all(trial.feasible for trial in ahead.trials)


def fail_quietly() -> None:
    with quiet_optuna():
        assert optuna.logging.get_verbosity() == logging.ERROR
        raise RuntimeError


def test_the_users_log_level_comes_back_even_after_an_error() -> None:
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(logging.DEBUG)
    try:
        with pytest.raises(RuntimeError):
            fail_quietly()
        assert optuna.logging.get_verbosity() == logging.DEBUG
    finally:
        optuna.logging.set_verbosity(before)


def test_an_unknown_sampler_is_refused() -> None:
    with pytest.raises(ValueError, match="sampler=cma: must be one of tpe, cmaes"):
        OptunaSearch("cma")


def test_other_policies_do_not_wait_for_optuna() -> None:
    code = "import sys, amc.api.pruning, amc.run.pipeline, baselines.pareto; sys.exit('optuna' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], check=True)
