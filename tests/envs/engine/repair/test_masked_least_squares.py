"""The reference solves every row's equations by themselves."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from envs.engine.repair.masked_least_squares import refit
from envs.engine.settings import EngineSettings
from envs.engine.surgery.masking import masks
from envs.engine.torch_engine import TorchEngine
from envs.engine.types import Evaluation

BLOCKS, OUTPUTS, COLUMNS = 2, 5, 12
RIDGE = 0.05
SETTINGS = EngineSettings(granularity="element", precision="fp32")


def drawn() -> tuple[Tensor, Tensor, Tensor]:
    """Weights, a mask that leaves one row all and one nothing, and second moments of correlated inputs."""
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(BLOCKS, OUTPUTS, COLUMNS, generator=generator)
    mask = torch.rand(weight.shape, generator=generator) < 0.4
    mask[0, 0], mask[0, 1] = True, False
    mixing = torch.randn(BLOCKS, COLUMNS, COLUMNS, generator=generator)
    inputs = torch.randn(BLOCKS, 200, COLUMNS, generator=generator) @ mixing
    return weight, mask, inputs.transpose(1, 2) @ inputs / 200


def by_rows(weight: Tensor, mask: Tensor, gram: Tensor) -> Tensor:
    """Solve (G_SS + ridge I) d = G_SR w_R for every row."""
    fitted = weight * mask
    for block in range(BLOCKS):
        ridge = RIDGE * gram[block].diagonal().mean()
        for row in range(OUTPUTS):
            stay, gone = mask[block, row], ~mask[block, row]
            left = gram[block][stay][:, gone] @ weight[block, row, gone]
            matrix = gram[block][stay][:, stay] + ridge * torch.eye(int(stay.sum()))
            fitted[block, row, stay] += torch.linalg.solve(matrix, left)
    return fitted


def test_what_stays_is_fitted_as_row_by_row() -> None:
    weight, mask, gram = drawn()
    fitted = refit(weight, mask, gram, RIDGE, steps=4 * COLUMNS)
    torch.testing.assert_close(fitted, by_rows(weight, mask, gram), rtol=1e-3, atol=1e-3)
    assert torch.equal(fitted[0, 0], weight[0, 0])
    assert not fitted[~mask].any()


def test_few_steps_go_most_of_the_way() -> None:
    weight, mask, gram = drawn()

    def lost(fitted: Tensor) -> Tensor:
        change = weight - fitted
        return (change @ gram * change).sum()

    masked, best = lost(weight * mask), lost(by_rows(weight, mask, gram))
    assert best < 0.8 * masked
    assert lost(refit(weight, mask, gram, RIDGE)) < best + 0.05 * (masked - best)


def test_inputs_that_are_all_zero_change_nothing() -> None:
    weight, mask, gram = drawn()
    torch.testing.assert_close(refit(weight, mask, torch.zeros_like(gram)), weight * mask)


@pytest.mark.parametrize("granularity", ["element", "vector", "kernel", "n_m"])
def test_masked_networks_are_nearer_to_the_dense_one_and_keep_their_zeros(granularity: str) -> None:
    torch.manual_seed(0)
    hidden = torch.randn(300, 4, 6, 6)
    images = torch.einsum("oc,nchw->nohw", torch.randn(8, 4), hidden) + 0.1 * torch.randn(300, 8, 6, 6)
    network = nn.Sequential(
        *(nn.Conv2d(8, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3, groups=2), nn.ReLU(), nn.Flatten(), nn.Linear(32, 5))
    ).eval()
    settings = replace(SETTINGS, granularity=granularity)
    off = {}
    for reconstruct in (False, True):
        chosen = replace(settings, reconstruct=reconstruct)
        engine = TorchEngine(network, images[:2], images[:200], lambda _: Evaluation(0.0, 0.0, 1), chosen)
        pruned = engine.prune((0.5,) * len(engine.layers))
        assert all(not pruned.get_submodule(name).weight[~mask].any() for name, mask in masks(pruned).items())
        assert len(masks(pruned)) == 3
        with torch.no_grad():
            off[reconstruct] = (pruned(images[200:]) - network(images[200:])).square().mean().item()
    assert off[True] < 0.7 * off[False]
