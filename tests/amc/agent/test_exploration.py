import numpy as np
import pytest
from scipy.stats import truncnorm

from amc.agent.exploration import Exploration, truncated_normal


def test_sigma_decays_after_the_warm_up() -> None:
    exploration = Exploration(warm_up=10, sigma=0.5, decay=0.9)
    assert [exploration.sigma_at(episode) for episode in (0, 10, 12)] == [0.5, 0.5, pytest.approx(0.405)]


@pytest.mark.parametrize(("mean", "sigma"), [(0.5, 0.5), (0.98, 0.1), (0.1, 0.3)])
def test_draws_follow_scipys_truncated_normal(mean: float, sigma: float) -> None:
    rng = np.random.default_rng(0)
    draws = np.array([truncated_normal(mean, sigma, 0.1, 1.0, rng) for _ in range(4000)])
    expected = truncnorm((0.1 - mean) / sigma, (1.0 - mean) / sigma, mean, sigma)
    assert 0.1 <= draws.min() <= draws.max() <= 1.0
    for quantile in (0.1, 0.5, 0.9):
        assert (draws <= expected.ppf(quantile)).mean() == pytest.approx(quantile, abs=0.03)


@pytest.mark.parametrize(
    ("mean", "sigma", "low", "high"),
    [
        (0.5, 0.5, 0.1, 1.0),
        (0.98, 0.02, 0.1, 1.0),
        (1.0, 1e-5, 0.1, 1.0),
        (0.99, 0.02, 0.1, 0.3),
        (0.01, 0.02, 0.5, 1.0),
        (0.99, 0.001, 0.1, 0.11),
        (0.2, 0.3, 0.3, 0.3001),
    ],
)
def test_a_draw_is_scipys_quantile_of_the_same_number(mean: float, sigma: float, low: float, high: float) -> None:
    for seed in range(50):
        drawn = truncated_normal(mean, sigma, low, high, np.random.default_rng(seed))
        share = np.random.default_rng(seed).uniform()
        expected = truncnorm.ppf(share, (low - mean) / sigma, (high - mean) / sigma, mean, sigma)
        assert drawn == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("mean", [-50.0, 0.1, 1.0, 50.0])
def test_the_ends_of_the_uniform_numbers_are_drawn_inside(mean: float) -> None:
    class Ends(np.random.Generator):
        share = 0.0

        def uniform(self, *_: object) -> float:  # type: ignore[override]
            return self.share

    rng = Ends(np.random.PCG64(0))
    for rng.share in (0.0, np.nextafter(1, 0)):
        assert 0.1 <= truncated_normal(mean, 0.02, 0.1, 1.0, rng) <= 1.0


def test_without_sigma_the_mean_is_played() -> None:
    assert truncated_normal(0.3, 0.0, 0.1, 1.0, np.random.default_rng(0)) == 0.3


def test_values_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="decay"):
        Exploration(warm_up=1, sigma=0.5, decay=0.0)
