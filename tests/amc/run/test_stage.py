"""What a run hands its engine."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from amc.config.schema import SearchConfig
from amc.run.plan import load_data, make_plan
from amc.run.stage import make_engine, warn_of_batch_norms, whole_run
from amc.training.augmentation import augment
from benchmarks.setting import make_config
from envs.engine.types import Evaluation

SHIFT, SEED, IMAGES = 2, 3, 100


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 10),
    ).eval()


def config(*keys: str) -> SearchConfig:
    custom = ("model=custom", "+model._target_=torch.nn.Identity", "data=digits", f"data.calibration={IMAGES}")
    return make_config(
        *custom, "device=cpu", "threads=1", f"seed={SEED}", "precision=fp32", "round_to=1", "train.flip=false", *keys
    )


@pytest.mark.parametrize("shift", [0, SHIFT])
def test_batch_norms_are_measured_on_images_as_training_shows_them(shift: int) -> None:
    cfg = config(f"train.shift={shift}")
    data = load_data(cfg)
    engine = make_engine(make_plan(cfg, data), network())
    images = data.splits.calibration.images
    if shift:
        images = augment(images, cfg.train, torch.Generator().manual_seed(SEED))
        assert not torch.equal(images, data.splits.calibration.images)
    expected = network()
    norm: Any = expected[1]
    norm.reset_running_stats()
    norm.momentum = None
    with torch.no_grad():
        expected.train()(data.inputs(images))
    measured = engine.prune(engine.dense_strategy)
    torch.testing.assert_close(measured[1].running_mean, norm.running_mean)
    torch.testing.assert_close(measured[1].running_var, norm.running_var)


@pytest.mark.parametrize(
    ("keys", "loses", "warns"), [((), 0.05, True), ((), 0.02, False), (("adaptive_bn=0",), 0.05, False)]
)
def test_a_network_that_batch_norms_measured_anew_make_worse_is_named(
    keys: tuple[str, ...], loses: float, warns: bool, caplog: pytest.LogCaptureFixture
) -> None:
    cfg = config(*keys)
    plan = make_plan(cfg, load_data(cfg))
    stage = whole_run(plan, network())
    dense = stage.engine.run(stage.engine.model, folded)

    def score(candidate: nn.Module) -> Evaluation:
        return Evaluation(0.9 if torch.equal(folded(candidate), dense) else 0.9 - loses, 0.0, 1)

    warn_of_batch_norms(replace(plan, score=score), stage)
    assert ("from 0.9 to 0.85" in caplog.text) is warns


def folded(candidate: nn.Module) -> Tensor:
    """Return the weights of a network's first layer, its batch norm in them."""
    return next(candidate.parameters()).detach().clone()
