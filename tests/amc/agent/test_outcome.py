import numpy as np
import pytest
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, DotProduct, Matern, WhiteKernel

from amc.agent.outcome import JITTER, Kernel, OutcomeModel

KERNEL = Kernel(linear=0.7, curved=0.4, length=1.3, noise=0.05)


def episodes(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    features = np.random.default_rng(seed).random((count, 5))
    return features, np.sin(3 * features[:, 0]) - features @ np.arange(5) + 7


def test_beliefs_are_those_of_scikit_learn() -> None:
    (seen, outcomes), (others, _) = episodes(30), episodes(8, seed=1)
    critic = OutcomeModel(KERNEL)
    critic.fit(seen, outcomes, settle=False)
    linear = ConstantKernel(KERNEL.linear) * DotProduct(sigma_0=1e-9, sigma_0_bounds="fixed")
    kernel = linear + ConstantKernel(KERNEL.curved) * Matern(KERNEL.length, nu=2.5)
    theirs = GaussianProcessRegressor(kernel, alpha=KERNEL.noise + JITTER, optimizer=None)
    centre, scale, origin = outcomes.mean(), outcomes.std(), seen.mean(0)
    theirs.fit(seen - origin, (outcomes - centre) / scale)
    mean, deviation = theirs.predict(others - origin, return_std=True)
    belief = critic(others)
    np.testing.assert_allclose(belief.mean, mean * scale + centre, rtol=1e-6)
    np.testing.assert_allclose(belief.deviation, deviation * scale, rtol=1e-4)


def test_settling_raises_the_likelihood() -> None:
    seen, outcomes = episodes(30)
    critic = OutcomeModel(KERNEL)
    critic.fit(seen, outcomes, settle=True)

    def likelihood(kernel: Kernel) -> float:
        linear = ConstantKernel(kernel.linear) * DotProduct(sigma_0=1e-9)
        theirs = linear + ConstantKernel(kernel.curved) * Matern(kernel.length, nu=2.5) + WhiteKernel(kernel.noise)
        regressor = GaussianProcessRegressor(theirs, alpha=JITTER, optimizer=None)
        regressor.fit(seen - seen.mean(0), (outcomes - outcomes.mean()) / outcomes.std())
        return float(regressor.log_marginal_likelihood_value_)

    assert likelihood(critic.kernel) > likelihood(KERNEL) + 1


def test_outcomes_that_are_all_the_same_teach_nothing() -> None:
    seen, _ = episodes(6)
    critic = OutcomeModel()
    critic.fit(seen, np.full(6, 0.25), settle=True)
    assert critic(seen).mean == pytest.approx(0.25)
