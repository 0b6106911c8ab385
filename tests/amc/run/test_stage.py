"""What a run hands its engine."""

from typing import Any

import pytest
import torch
from torch import nn

from amc.run.plan import load_data, make_plan
from amc.run.stage import make_engine
from amc.training.augmentation import augment
from benchmarks.setting import make_config

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


@pytest.mark.parametrize("shift", [0, SHIFT])
def test_batch_norms_are_measured_on_images_as_training_shows_them(shift: int) -> None:
    cfg = make_config(
        *(
            "model=custom",
            "+model._target_=torch.nn.Identity",
            "data=digits",
            f"data.calibration={IMAGES}",
            "threads=1",
        ),
        *(f"train.shift={shift}", "train.flip=false", f"seed={SEED}", "precision=fp32", "round_to=1"),
    )
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
