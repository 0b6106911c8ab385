import itertools

from envs.engine.analytic import AnalyticEngine
from envs.pruning_env import PruningEnv
from envs.search import RecordTrials, play_strategy
from envs.sensitivity import SensitivityPoint, pruned_layers, sensitivity_curves

NAMES = ["a", "b", "c", "d"]


def make_env(engine: AnalyticEngine, episodes: int, target: float = 0.5) -> RecordTrials:
    return RecordTrials(PruningEnv(engine, target=target, constraint="bound"), episodes)


def test_a_curve_holds_every_probe_of_its_layer(small_engine: AnalyticEngine) -> None:
    env = make_env(small_engine, 40)
    ratios = env.problem.budget.ratios
    strategies = [strategy for strategy in itertools.product(*ratios) if len(pruned_layers(strategy)) <= 1]
    for strategy in reversed(strategies):
        env.score_strategy(strategy)
    curves = sensitivity_curves(env.trials, NAMES)
    assert [curve.layer for curve in curves] == NAMES
    for step, curve in enumerate(curves):
        expected = [(*(1.0,) * step, keep, *(1.0,) * (3 - step)) for keep in ratios[step]]
        assert curve.points == tuple(
            SensitivityPoint(keep, small_engine.evaluate(strategy))
            for keep, strategy in zip(ratios[step], expected, strict=True)
        )


def test_other_trials_are_no_points(small_engine: AnalyticEngine) -> None:
    env = make_env(small_engine, 2)
    play_strategy(env, (0.5, 0.5, 1.0, 1.0))
    env.score_strategy((1.0, 1.0, 0.5, 1.0))
    curves = sensitivity_curves(env.trials, NAMES)
    assert [len(curve.points) for curve in curves] == [0, 0, 1, 0]


def test_a_played_strategy_is_a_point_too(small_engine: AnalyticEngine) -> None:
    env = make_env(small_engine, 2, target=0.9)
    trial = play_strategy(env, (1.0, 0.5, 1.0, 1.0))
    env.score_strategy(trial.strategy)
    assert trial.feasible
    assert sensitivity_curves(env.trials, NAMES)[1].points == (SensitivityPoint(0.5, trial.evaluation),)


def test_nothing_scored_has_empty_curves() -> None:
    assert [curve.points for curve in sensitivity_curves([], NAMES)] == [()] * 4
