"""Against the closed form, and where there is nothing to learn from."""

import torch

from envs.engine.repair.compensating.ridge_regression import RidgeRegression

RIDGE = 0.1


def test_it_is_ridge_regression_about_the_means() -> None:
    torch.manual_seed(0)
    inputs, error = torch.randn(2, 50, 4) + 1, torch.randn(2, 50, 3) - 2
    weight, shift = RidgeRegression(inputs, RIDGE, intercept=True).fit(error)
    for block in range(2):
        x, e = inputs[block].double(), error[block].double()
        centered = x - x.mean(0)
        gram = centered.T @ centered / len(x)
        expected = torch.linalg.solve(gram + RIDGE * gram.diagonal().mean() * torch.eye(4), centered.T @ e / len(x)).T
        torch.testing.assert_close(weight[block].double(), expected, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(shift[block].double(), e.mean(0) - expected @ x.mean(0), rtol=1e-4, atol=1e-5)


def test_inputs_that_never_change_move_the_outputs_and_no_weights() -> None:
    """Their mean in single precision is not quite what they are, and what is left of them is that rounding."""
    torch.manual_seed(0)
    inputs = (7 * torch.rand(1, 1, 9)).expand(1, 500, 9).contiguous()
    error = torch.randn(1, 500, 4) + 3
    weight, shift = RidgeRegression(inputs, RIDGE, intercept=True).fit(error)
    assert weight.abs().max() < 1e-2
    torch.testing.assert_close(shift, error.mean(1), rtol=0, atol=0.1)
