"""A network, data and a target on which rewards are compared: what each reward says of a strategy, and its truth."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from time import process_time
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, kl_div, log_softmax

from amc.config.recipe import Recipe
from amc.config.schema import SearchConfig
from amc.run.plan import part
from amc.training.sgd import Descent, augment
from amc.zoo.data.dataset import Split, Splits
from benchmarks.setting import make_config, make_setting
from envs.engine.scoring.top1 import Top1Scorer
from envs.engine.settings import EngineSettings
from envs.engine.torch_engine import TorchEngine
from envs.engine.types import Evaluation, Strategy
from envs.pruning_env import PruningEnv
from envs.rewards import REWARDS

SCORED = ("accuracy", "loss", "divergence")
WEIGHT, TEMPERATURE = 0.5, 2.0


@dataclass(frozen=True)
class Training:
    """How candidates are trained.

    Attributes:
        steps: of the fine-tuning whose outcome is to be foreseen.
        short: steps before scoring, where a reward takes some.
        batch_size: images a step.
        learns_from: of the short training, of ``plain`` and ``distilled``; fine-tuning is distilled.
        seeds: of fine-tuning; the mean over them is its outcome.
    """

    steps: int
    short: int
    batch_size: int
    learns_from: tuple[str, ...]
    seeds: tuple[int, ...]


@dataclass(frozen=True)
class Cell:
    """What strategies are measured on.

    Attributes:
        problem: that strategies are drawn for.
        dense: the dense network in eval mode.
        splits: ``train`` is fine-tuned on.
        engines: by the name of the repair, the configuration's own under the empty one.
        search: scores for rewards.
        judge: scores what came of fine-tuning, on images that neither training nor rewards see.
        recipe: of training.
    """

    problem: PruningEnv
    dense: nn.Module
    splits: Splits
    engines: Mapping[str, TorchEngine]
    search: Top1Scorer
    judge: Top1Scorer
    recipe: Recipe

    def measure(self, strategy: Strategy, training: Training) -> dict[str, Any]:
        """Return rewards of a strategy, the CPU seconds of each, and its accuracy after fine-tuning."""
        rewards, seconds = {}, {}
        for name, evaluate in self._ways(strategy, training):
            start = process_time()
            evaluation = evaluate()
            taken = process_time() - start
            cost = self.problem.budget.engine.cost(strategy)
            for reward in SCORED:
                key = f"{reward} {name}".strip()
                rewards[key], seconds[key] = REWARDS[reward](evaluation, cost), round(taken, 3)
        start = process_time()
        after = [self.tuned(strategy, training, seed) for seed in training.seeds]
        return {
            "rewards": rewards,
            "seconds": seconds,
            "after": after,
            "finetune_seconds": round((process_time() - start) / len(after), 3),
        }

    def tuned(self, strategy: Strategy, training: Training, seed: int) -> float:
        """Return the accuracy after fine-tuning, on the judge's images."""
        return self.judge(self._trained(strategy, training, training.steps, seed, self.dense)).metric

    def _ways(self, strategy: Strategy, training: Training) -> Iterator[tuple[str, Callable[[], Evaluation]]]:
        """Yield the name of every way to an evaluation, and the way."""
        for name, engine in self.engines.items():
            yield name, partial(engine.score_again, strategy)
        for name in training.learns_from:
            teacher = self.dense if name == "distilled" else None
            yield f"after {training.short} {name} steps", partial(self._after_few, strategy, training, teacher)

    def _after_few(self, strategy: Strategy, training: Training, teacher: nn.Module | None) -> Evaluation:
        return self.search(self._trained(strategy, training, training.short, -1, teacher))

    def _trained(
        self, strategy: Strategy, training: Training, steps: int, seed: int, teacher: nn.Module | None
    ) -> nn.Module:
        model = self.engines[""].prune(strategy)
        recipe = replace(self.recipe, batch_size=training.batch_size)
        train(model, self.splits, recipe, steps, seed % 2**32, teacher)
        return model


def train(model: nn.Module, splits: Splits, recipe: Recipe, steps: int, seed: int, teacher: nn.Module | None) -> None:
    """Take a number of steps on labels and, where there is a teacher, on its outputs; the model ends in eval mode."""
    generator = torch.Generator().manual_seed(seed)
    descent = Descent(model.train(), recipe, steps)
    order = torch.empty(0, dtype=torch.int64)
    for _ in range(steps):
        if len(order) < recipe.batch_size:
            order = torch.randperm(len(splits.train.labels), generator=generator)
        batch, order = splits.train.take(order[: recipe.batch_size]), order[recipe.batch_size :]
        images = splits.normalize(augment(batch.images, recipe, generator))
        with torch.autocast("cpu", torch.bfloat16, enabled=recipe.bf16):
            outputs = model(images)
            loss = cross_entropy(outputs, batch.labels)
            if teacher is not None:
                loss = torch.lerp(loss.float(), _divergence(outputs, teacher, images), WEIGHT)
        descent.step(loss)
    model.eval()


def _divergence(outputs: Tensor, teacher: nn.Module, images: Tensor) -> Tensor:
    """KL divergence from softened outputs of the teacher, times the temperature squared (Hinton et al., 2015)."""
    with torch.no_grad():
        taught = teacher(images)
    learnt, goal = (log_softmax(logits.float() / TEMPERATURE, 1) for logits in (outputs, taught))
    return kl_div(learnt, goal, reduction="batchmean", log_target=True) * TEMPERATURE**2


def make_cell(keys: Sequence[str], repairs: Mapping[str, Sequence[str]]) -> Cell:
    """Train the network, or find it, and make the engines.

    The first half of the search split scores rewards, the second judges what came of fine-tuning.

    Args:
        keys: of the configuration.
        repairs: further ways of repair: a name, and the keys that differ.
    """
    setting = make_setting(*keys)
    cfg, splits = setting.cfg, setting.splits
    half = len(splits.search.labels) // 2
    search = _scorer(splits, slice(half)).compared_with(setting.model)

    def engine(cfg: SearchConfig) -> TorchEngine:
        settings, labels = part(cfg, EngineSettings), splits.calibration.labels
        return TorchEngine(setting.model, splits.example(), setting.calibration, search, settings, labels)

    engines = {"": engine(cfg)} | {name: engine(make_config(*keys, *more)) for name, more in repairs.items()}
    problem = PruningEnv(
        engines[""], resource=cfg.resource, target=cfg.target, min_keep=cfg.min_keep, constraint=cfg.constraint
    )
    recipe = replace(cfg.train, lr=cfg.train.lr * cfg.finetune.lr_factor)
    return Cell(problem, setting.model, splits, engines, search, _scorer(splits, slice(half, 2 * half)), recipe)


def _scorer(splits: Splits, images: slice) -> Top1Scorer:
    chosen = Split(splits.search.images[images], splits.search.labels[images])
    return Top1Scorer(splits.normalize(chosen.images), chosen.labels)
