import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from envs.engine.scoring.stratified_sampling import Strata, allocate, strata_by_margin

SIZES, DEVIATIONS = (400, 400, 800, 2400), (0.3, 0.14, 0.07, 0.02)


def variance(taken: list[float], sizes: tuple[int, ...], deviations: tuple[float, ...]) -> float:
    """Cochran, Sampling Techniques, eq. 5.6, times the square of the number of all images."""
    groups = zip(taken, sizes, deviations, strict=True)
    return sum(size**2 * deviation**2 / count * (1 - count / size) for count, size, deviation in groups)


@pytest.mark.parametrize("total", [50, 250, 1000, 2500])
def test_images_are_shared_out_as_a_numerical_optimizer_does(total: int) -> None:
    found = allocate(total, SIZES, DEVIATIONS)
    best = minimize(
        variance,
        [total / 4] * 4 if total < 1600 else [400.0, 400.0, 700.0, total - 1500.0],
        args=(SIZES, DEVIATIONS),
        bounds=[(1, size) for size in SIZES],
        constraints={"type": "eq", "fun": lambda taken: sum(taken) - total},
    )
    assert sum(found) == pytest.approx(total, abs=2)
    assert variance(list(map(float, found)), SIZES, DEVIATIONS) <= 1.01 * best.fun + 1e-6


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 50), st.floats(1e-3, 1)), min_size=1, max_size=6), st.integers(1, 300))
def test_no_group_gives_more_than_it_has_or_nothing(groups: list[tuple[int, float]], total: int) -> None:
    sizes, deviations = zip(*groups, strict=True)
    taken = allocate(max(total, len(sizes)), sizes, deviations)
    assert all(1 <= count <= size for count, size in zip(taken, sizes, strict=True))


@pytest.mark.parametrize("count", [1, 2, 9, 1000])
def test_every_image_is_in_one_group_and_margins_rise_from_group_to_group(count: int) -> None:
    margins = torch.rand(count, generator=torch.Generator().manual_seed(0))
    strata = strata_by_margin(margins)
    assert torch.cat(strata.members).sort().values.tolist() == list(range(count))
    assert all(strata.sizes)
    for low, high in zip(strata.members, strata.members[1:], strict=False):
        assert margins[low].max() <= margins[high].min()
        assert low.tolist() == sorted(low.tolist())
    if count == 1000:
        assert strata.sizes == (100, 100, 200, 600)


def test_means_are_over_the_images_taken() -> None:
    strata = Strata((torch.tensor([3, 1]), torch.tensor([0, 2, 4])))
    assert strata.means(torch.tensor([1.0, 2.0, 3.0, 4.0, 9.0]), (1, 2)).tolist() == [4.0, 2.0]
    assert strata.between((0, 1), (1, 3)).tolist() == [3, 2, 4]
    assert strata.shares.tolist() == [0.4, 0.6]
