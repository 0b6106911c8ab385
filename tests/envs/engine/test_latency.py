import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from envs.engine.latency import CountTimes, LayerShape, TableModel, TimedLayer, monotone

CONV = LayerShape("conv", (3, 3), (2, 2), (1, 1), (1, 1), (8, 8))
POINTWISE = CONV._replace(kernel=(1, 1))


def milliseconds(inputs: float, outputs: float) -> float:
    return 0.5 + 0.01 * inputs + 0.02 * outputs + 0.001 * inputs * outputs


def grid_times(block: int = 8, penalties: tuple[dict[int, float], dict[int, float]] = ({}, {})) -> CountTimes:
    inputs, outputs = np.array([8.0, 32.0, 64.0]), np.array([16.0, 48.0])
    return CountTimes(inputs, outputs, milliseconds(inputs[:, None], outputs[None]), block, penalties)


@pytest.mark.parametrize(("inputs", "outputs"), [(8, 16), (64, 48), (40, 24), (16, 32)])
def test_between_measured_counts_times_are_bilinear(inputs: int, outputs: int) -> None:
    assert grid_times().at(inputs, outputs) == pytest.approx(milliseconds(inputs, outputs))


def test_counts_are_rounded_up_to_the_block() -> None:
    times = grid_times(block=16)
    assert times.at(33, 48) == times.at(48, 48) > times.at(32, 48)
    # Few channels are read as they are, in finer blocks.
    assert times.at(8, 48) < times.at(16, 48)


def test_odd_counts_cost_what_was_measured() -> None:
    times = grid_times(block=8, penalties=({1: 2.0}, {4: 1.5}))
    assert times.at(31, 16) == pytest.approx(2 * times.at(32, 16))
    assert times.at(32, 20) == pytest.approx(1.5 * times.at(32, 24))
    assert times.at(64, 48) == pytest.approx(milliseconds(64, 48))


def test_a_network_takes_what_its_layers_take() -> None:
    factors = {"pointwise": 0.5, "conv": 2.0, "depthwise": 0.0, "linear": 0.0}
    model = TableModel({CONV: grid_times(), POINTWISE: grid_times()}, factors, overhead=3.0, per_value=0.25)
    layers = [TimedLayer(CONV, 8, 16), TimedLayer(POINTWISE, 64, 48, calls=2)]
    values = (16 + 2 * 48) * 4 * 4 / 1000
    # Three layers are called.
    expected = 2 * milliseconds(8, 16) + 0.5 * 2 * milliseconds(64, 48) + 3 * 3 + 0.25 * values
    assert model.seconds(layers) == pytest.approx(expected / 1000)


def test_weights_that_the_cache_does_not_hold_take_their_time_in_every_pass() -> None:
    factors = dict.fromkeys(("pointwise", "conv", "depthwise", "linear"), 1.0)
    times = {CONV: grid_times()}
    small, large = [TimedLayer(CONV, 8, 16)], [TimedLayer(CONV, 64, 48)] * 2
    model = TableModel(times, factors, 0.0, 0.0, cache=20.0, per_weight=0.5)
    assert model.seconds(small) == pytest.approx(milliseconds(8, 16) / 1000)
    beyond = 2 * 9 * 64 * 48 / 1000 - 20
    assert model.seconds(large) == pytest.approx((2 * milliseconds(64, 48) + 0.5 * beyond) / 1000)


@given(arrays(float, (4, 5), elements=st.floats(0.1, 10.0)))
def test_the_monotone_grid_is_the_nearest(grid: np.ndarray) -> None:
    smooth = monotone(grid)
    assert (np.diff(smooth, axis=0) >= -1e-12).all()
    assert (np.diff(smooth, axis=1) >= -1e-12).all()
    # No ascending array is nearer than half the largest drop from a value to one further on.
    drops = [grid[i, j] / grid[k, m] for i in range(4) for j in range(5) for k in range(i, 4) for m in range(j, 5)]
    farthest = np.maximum(smooth / grid, grid / smooth).max()
    assert farthest == pytest.approx(np.sqrt(max(drops)))


def test_an_ascending_grid_stays_as_it_is() -> None:
    grid = np.cumsum(np.cumsum(np.ones((3, 4)), 0), 1)
    np.testing.assert_allclose(monotone(grid), grid)
