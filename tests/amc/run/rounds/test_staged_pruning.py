import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from amc.errors import ModelError
from amc.run.outcome import sound_winner
from amc.run.rounds.staged_pruning import stage_targets
from amc.run.stage import remaining
from amc.training.finetune import Tuned
from envs.constraint import ResourceBudget
from envs.engine.analytic import AnalyticEngine
from envs.engine.types import Cost, Evaluation


@given(st.floats(0.01, 1.0), st.integers(1, 16))
def test_every_stage_removes_the_same_share(target: float, stages: int) -> None:
    targets = stage_targets(target, stages)
    assert len(targets) == stages
    assert targets[-1] == target
    ratios = [after / before for before, after in zip((1.0, *targets), targets, strict=False)]
    assert ratios == pytest.approx([target ** (1 / stages)] * stages)


@given(st.integers(1, 10**12), st.integers(1, 10**12), st.floats(0.001, 1.0))
def test_a_fraction_of_what_is_there_is_never_more_than_that_of_the_original(
    original: int, now: int, target: float
) -> None:
    left = remaining(target, "flops", Cost(original, 1), Cost(now, 1))
    assert 0 < left <= 1
    assert left * now <= target * original
    # And not less than it has to be.
    assert left == 1 or left * now == pytest.approx(target * original)


def test_min_keep_counts_what_went_before() -> None:
    engine = AnalyticEngine(round_to=1)
    units = tuple(2 * layer.units for layer in engine.layers)
    once, again = ResourceBudget(engine, "flops", 1.0, 0.1), ResourceBudget(engine, "flops", 1.0, 0.1, units)
    for layer, alone, together in zip(engine.layers, once.floors, again.floors, strict=True):
        assert alone * layer.units == pytest.approx(math.ceil(0.1 * layer.units))
        assert together * layer.units == pytest.approx(math.ceil(0.2 * layer.units))
    assert replace(again, units=(10**6,) * len(units)).floors == (1.0,) * len(units)


def test_a_network_that_fine_tuning_broke_does_not_win() -> None:
    before = Evaluation(0.5, 1.0, 10)
    broken = Tuned((1.0,), nn.Identity(), before, Evaluation(0.9, math.nan, 10))
    torn = nn.BatchNorm2d(2)
    torn.running_var[0] = float("inf")
    unreadable = Tuned((0.7,), torn, before, Evaluation(0.5, 0.9, 10))
    sound = Tuned((0.5,), nn.Identity(), before, Evaluation(0.45, 1.0, 10))
    assert sound_winner([broken, unreadable, sound], "stage 1 of 2") is sound
    with pytest.raises(ModelError, match="stage 1 of 2: fine-tuning diverged"):
        sound_winner([broken], "stage 1 of 2")
