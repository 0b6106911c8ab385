import pytest

from baselines.uniform import Uniform
from envs.engine.analytic import AnalyticEngine
from envs.pruning_env import CONSTRAINTS, PruningEnv
from envs.search import RecordTrials


@pytest.mark.parametrize("constraint", CONSTRAINTS)
def test_uniform_keeps_about_as_much_of_every_layer(constraint: str) -> None:
    engine = AnalyticEngine()
    env = RecordTrials(PruningEnv(engine, constraint=constraint), 1)
    Uniform().search(env)
    steps = [(layer.choices[1] - layer.choices[0]) / layer.units for layer in engine.layers]
    strategy = env.best.strategy
    assert max(strategy) - min(strategy) <= 1.5 * max(steps)
    used, dense = env.best.cost.flops, engine.cost((1.0,) * len(engine.layers)).flops
    assert 0.45 < used / dense <= 0.5
