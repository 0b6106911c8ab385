import numpy as np
import pytest

from envs.engine.analytic import AnalyticEngine, Block
from envs.observation import FEATURES, Observer, describe


def feature(observation: np.ndarray, name: str) -> float:
    return float(observation[FEATURES.index(name)])


def test_layers_are_described_over_the_whole_range(small_engine: AnalyticEngine) -> None:
    table = describe(small_engine.layers)
    # Of the layers' 16, 24, 16, 8 inputs; 3, 1, 3, 1 wide kernels; 8, 8, 4, 4 pixels.
    np.testing.assert_allclose(table[:, FEATURES.index("t")], [0, 1 / 3, 2 / 3, 1])
    np.testing.assert_allclose(table[:, FEATURES.index("c")], [0.5, 1, 0.5, 0])
    np.testing.assert_allclose(table[:, FEATURES.index("k")], [1, 0, 1, 0])
    np.testing.assert_allclose(table[:, FEATURES.index("h")], [1, 1, 0, 0])
    flops = [layer.flops for layer in small_engine.layers]
    expected = [(value - min(flops)) / (max(flops) - min(flops)) for value in flops]
    np.testing.assert_allclose(table[:, FEATURES.index("flops")], expected)


def test_a_feature_that_all_layers_share_is_zero() -> None:
    engine = AnalyticEngine(blocks=(Block(8, 4, 1, 3, 1.0), Block(8, 4, 1, 3, 1.0)))
    assert describe(engine.layers)[:, FEATURES.index("k")].tolist() == [0, 0]


def test_what_was_done_and_what_is_left(small_engine: AnalyticEngine) -> None:
    observe = Observer(small_engine)
    flops = [layer.flops for layer in small_engine.layers]
    start = observe(())
    assert feature(start, "reduced") == 0
    assert feature(start, "previous") == 1
    assert feature(start, "rest") == pytest.approx(sum(flops[1:]) / sum(flops))
    later = observe((0.5, 0.25))
    saved = 1 - small_engine.cost((0.5, 0.25, 1.0, 1.0)).flops / small_engine.cost((1.0,) * 4).flops
    assert feature(later, "reduced") == pytest.approx(saved)
    assert feature(later, "previous") == 0.25
    assert feature(later, "rest") == pytest.approx(flops[3] / sum(flops))
    assert feature(later, "t") == pytest.approx(2 / 3)


def test_after_the_last_layer_nothing_is_left(small_engine: AnalyticEngine) -> None:
    end = Observer(small_engine)((0.5, 0.25, 1.0, 0.5))
    assert feature(end, "rest") == 0
    assert feature(end, "t") == 1
    assert feature(end, "previous") == 0.5


def test_one_layer_is_enough() -> None:
    observation = Observer(AnalyticEngine(blocks=(Block(8, 4, 1, 3, 1.0),)))(())
    assert np.isfinite(observation).all()
