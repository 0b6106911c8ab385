"""Fits a surrogate to a record, and finds the best strategy on it."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.landscapes.catalog import TARGETS
from benchmarks.landscapes.records import Record, Row
from benchmarks.landscapes.summit import summits
from envs.constraint import TargetError
from envs.engine.threads import torch_threads
from envs.engine.types import Strategy
from envs.landscapes.description import Description
from envs.landscapes.engine import LandscapeEngine
from envs.landscapes.files import Landscape
from envs.landscapes.surrogate import Array, FeatureTable, Surrogate, targets_of
from envs.pruning_env import PruningEnv

MEMBERS = 5
HIDDEN = 48
STEPS = 1000
RATE = 5e-3
DECAY = 3e-4
FOLDS = 3
"""Parts of the record by which the scatter of real evaluations around fitted ones is measured."""


class Sample(NamedTuple):
    """Features ``(n, features)`` and targets ``(n, 3)`` of a record's rows."""

    features: Array
    targets: Array


@torch_threads(1)  # the surrogate is so small that a second one only costs, beside other work ten times as much
def fit(record: Record) -> Landscape:
    """Return the landscape of a record."""
    sample = sample_of(record.description, [*record.fitted(), _dense(record.description)])
    surrogate = train(sample, MEMBERS, STEPS)._replace(noise=scatter(sample))
    best = {target: strategies[0] for target, strategies in climbed(record, surrogate).items()}
    return Landscape(record.description, surrogate, best)


def _dense(description: Description) -> Row:
    found = description.dense
    whole = tuple(layer.units for layer in description.layers)
    return Row("dense", 1.0, whole, found.metric, found.loss, found.divergence)


def sample_of(description: Description, rows: Sequence[Row]) -> Sample:
    """Return what a surrogate learns from rows of a record."""
    places = [
        [layer.choices.index(count) for layer, count in zip(description.layers, row.kept, strict=True)] for row in rows
    ]
    columns = np.array([(row.metric, row.loss, row.divergence) for row in rows]).T
    return Sample(FeatureTable(description)(np.array(places)), targets_of(*columns))


def scatter(sample: Sample) -> Array:
    """Return the standard deviation of the targets around what was fitted without them, by cross-validation."""
    part = np.random.default_rng(0).integers(FOLDS, size=len(sample.features))
    away = np.empty_like(sample.targets)
    for fold in range(FOLDS):
        rest = Sample(*(column[part != fold] for column in sample))
        away[part == fold] = train(rest, 2, STEPS).outputs(sample.features[part == fold]) - sample.targets[part == fold]
    # Of the middle: a few wild strategies are far off, and no search ends there.
    middle: Array = np.median(np.abs(away), axis=0) / 0.6745
    return middle


def train(sample: Sample, members: int, steps: int) -> Surrogate:
    """Fit an ensemble by gradient descent, all members at once."""
    generator = torch.Generator().manual_seed(0)
    offset, scale = sample.targets.mean(0), sample.targets.std(0)
    features = torch.tensor(sample.features, dtype=torch.float32)
    wanted = torch.tensor((sample.targets - offset) / scale, dtype=torch.float32)
    sizes = {
        "first": (members, features.shape[1], HIDDEN),
        "first_bias": (members, HIDDEN),
        "second": (members, HIDDEN, HIDDEN),
        "second_bias": (members, HIDDEN),
        "last": (members, HIDDEN, wanted.shape[1]),
        "linear": (members, features.shape[1], wanted.shape[1]),
        "last_bias": (members, wanted.shape[1]),
    }
    parameters = {name: _new(shape, generator) for name, shape in sizes.items()}
    optimizer = torch.optim.AdamW(parameters.values(), lr=RATE, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
    for _ in range(steps):
        optimizer.zero_grad()
        nn.functional.smooth_l1_loss(_answers(parameters, features), wanted.expand(members, -1, -1)).backward()
        optimizer.step()
        schedule.step()
    arrays: dict[str, Any] = {name: value.detach().double().numpy() for name, value in parameters.items()}
    return Surrogate(**arrays, offset=offset, scale=scale, noise=np.zeros(wanted.shape[1]))


def _new(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    fan = shape[1] if len(shape) == 3 else 1
    factor = 1 / fan**0.5 if len(shape) == 3 else 0.0
    return (factor * torch.randn(shape, generator=generator)).requires_grad_()


def _answers(parameters: dict[str, Tensor], features: Tensor) -> Tensor:
    hidden = torch.tanh(features @ parameters["first"] + parameters["first_bias"].unsqueeze(1))
    hidden = torch.tanh(hidden @ parameters["second"] + parameters["second_bias"].unsqueeze(1))
    return hidden @ parameters["last"] + features @ parameters["linear"] + parameters["last_bias"].unsqueeze(1)


def climbed(record: Record, surrogate: Surrogate) -> dict[float, list[Strategy]]:
    """Return by target the strategies that long searches on the surrogate end at, the best first."""
    engine = LandscapeEngine(record.description, surrogate)
    found = {}
    for target in TARGETS:
        try:
            problem = PruningEnv(engine, target=target)
        except TargetError:
            continue
        found[target] = summits(engine, problem.budget, [row.kept for row in record.rows])
    return found
