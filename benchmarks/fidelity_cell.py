"""A network, data and a target on which rewards are compared: what each reward says of a strategy, and its truth."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from time import process_time
from typing import Any

from torch import nn

from amc.config.recipe import Recipe
from amc.config.schema import SearchConfig
from amc.run.plan import part
from amc.training.distillation import Distillation
from amc.training.finetune import finetuning_recipe
from amc.training.sgd import fit
from amc.zoo.data.dataset import Splits
from benchmarks.setting import Setting, make_config, make_setting
from envs.engine.scoring.top1 import Top1Scorer
from envs.engine.settings import EngineSettings
from envs.engine.torch_engine import TorchEngine
from envs.engine.types import Evaluation, Strategy
from envs.pruning_env import PruningEnv
from envs.rewards import REWARDS

SHORT_SEED = 1000
"""Order of the short training, another than that of fine-tuning: what is foreseen must not be part of it."""

SCORED = ("accuracy", "loss", "divergence")


@dataclass(frozen=True)
class Training:
    """How candidates are trained.

    Attributes:
        steps: of the fine-tuning whose outcome is to be foreseen.
        short: steps before scoring, where a reward takes some.
        batch_size: images a step.
        learns_from: of the short training, of ``plain`` and ``distilled``; fine-tuning is as ``finetune.distill``
            says, by default distilled.
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
        teacher: the dense network, as fine-tuning learns from it.
        splits: ``train`` is fine-tuned on.
        engines: by the name of the repair, the configuration's own under the empty one.
        search: scores for rewards.
        judge: scores what came of fine-tuning, on images that neither training nor rewards see.
        recipe: of fine-tuning, but for its length.
    """

    problem: PruningEnv
    teacher: Distillation | None
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
        return self.judge(self._trained(strategy, training, training.steps, seed, self.teacher)).metric

    def _ways(self, strategy: Strategy, training: Training) -> Iterator[tuple[str, Callable[[], Evaluation]]]:
        """Yield the name of every way to an evaluation, and the way."""
        for name, engine in self.engines.items():
            yield name, partial(engine.score_again, strategy)
        for name in training.learns_from:
            teacher = self.teacher if name == "distilled" else None
            yield f"after {training.short} {name} steps", partial(self._after_few, strategy, training, teacher)

    def _after_few(self, strategy: Strategy, training: Training, teacher: Distillation | None) -> Evaluation:
        return self.search(self._trained(strategy, training, training.short, SHORT_SEED, teacher))

    def _trained(
        self, strategy: Strategy, training: Training, steps: int, seed: int, teacher: Distillation | None
    ) -> nn.Module:
        """Return the pruned network after so many steps: as the product fine-tunes, or on labels alone."""
        per_epoch = len(self.splits.train.labels) // training.batch_size
        recipe = replace(self.recipe, batch_size=training.batch_size, epochs=steps / per_epoch)
        model = self.engines[""].finish(strategy)
        fit(model, self.splits, recipe, seed, str(next(model.parameters()).device), distillation=teacher)
        return model


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
    search = _scorer(setting, slice(half)).compared_with(setting.model)

    def engine(cfg: SearchConfig) -> TorchEngine:
        settings, labels = part(cfg, EngineSettings), splits.calibration.labels.to(setting.labels.device)
        return TorchEngine(
            *(setting.model, setting.calibration[:1], setting.calibration, search, settings, labels),
            batch_norm_inputs=setting.as_trained,
        )

    engines = {"": engine(cfg)} | {name: engine(make_config(*keys, *more)) for name, more in repairs.items()}
    problem = PruningEnv(
        engines[""], resource=cfg.resource, target=cfg.target, min_keep=cfg.min_keep, constraint=cfg.constraint
    )
    distill, judge = cfg.finetune.distill, _scorer(setting, slice(half, 2 * half))
    teacher = Distillation(setting.model, distill, cfg.finetune.temperature) if distill else None
    return Cell(problem, teacher, splits, engines, search, judge, finetuning_recipe(cfg.train, cfg.finetune))


def _scorer(setting: Setting, images: slice) -> Top1Scorer:
    return Top1Scorer(setting.search[images], setting.labels[images])
