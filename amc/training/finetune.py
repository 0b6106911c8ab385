"""Fine-tuning of pruned networks, all alike: by one recipe, from one seed, with the dense network as teacher."""

import copy
import hashlib
import json
import logging
from dataclasses import dataclass, replace
from math import ceil, isfinite, sqrt

from torch import nn

from amc.config.recipe import Finetuning, Recipe
from amc.progress import TrainingProgress
from amc.training.dense import cache_key
from amc.training.distillation import Distillation
from amc.training.network_cache import NetworkCache, digest_of
from amc.training.sgd import Fitting, Progress, steps_of
from amc.zoo.data.device_data import DeviceData
from envs.engine.scoring.top1 import Top1Scorer
from envs.engine.torch_engine import TorchEngine
from envs.engine.types import Evaluation, Strategy

log = logging.getLogger(__name__)

TOLERATED = 0.01
"""What fine-tuning may cost of the metric on a split of many images before it is undone."""


@dataclass(frozen=True)
class Tuned:
    """A pruned network after fine-tuning.

    Attributes:
        strategy: what was pruned.
        model: the network, in eval mode.
        before: how good it was before fine-tuning, on the search split.
        after: how good it is, on the search split; as before where fine-tuning made it clearly worse and was undone.
    """

    strategy: Strategy
    model: nn.Module
    before: Evaluation
    after: Evaluation


def finetuning_recipe(training: Recipe, settings: Finetuning, times: int = 1) -> Recipe:
    """Return the recipe of fine-tuning: training's, at a lower rate, in other batches, ``times`` as many epochs."""
    batch_size = settings.batch_size or training.batch_size
    lr = training.lr * settings.lr_factor
    return replace(training, epochs=settings.epochs * times, lr=lr, batch_size=batch_size)


@dataclass(frozen=True)
class FineTuner:
    """Fine-tunes pruned networks, all by one recipe and from the same seed.

    Attributes:
        settings: how.
        training: how the dense network was trained, whose recipe fine-tuning goes by.
        data: what is trained on.
        score: scores a network on the search split.
        seed: fixes order and augmentation.
        teacher: the run's dense network, in eval mode on the data's device.
        cache: where networks are kept that many runs fine-tune.
    """

    settings: Finetuning
    training: Recipe
    data: DeviceData
    score: Top1Scorer
    seed: int
    teacher: nn.Module
    cache: NetworkCache

    @property
    def steps(self) -> int:
        """Steps of fine-tuning a network once."""
        return steps_of(self.recipe, self.data.splits)

    @property
    def recipe(self) -> Recipe:
        """That of fine-tuning a network once."""
        return finetuning_recipe(self.training, self.settings)

    @property
    def distillation(self) -> Distillation | None:
        """What networks learn from beside labels."""
        settings = self.settings
        return Distillation(self.teacher, settings.distill, settings.temperature) if settings.distill else None

    @property
    def scoring_steps(self) -> int:
        """Steps that take about as long as scoring a network, a third of what the same images take in training."""
        return ceil(len(self.score) / (3 * self.recipe.batch_size))

    def train(self, model: nn.Module, recipe: Recipe, progress: Progress | None = None, part: int = 0) -> None:
        """Train a pruned network in place and leave it in eval mode.

        Args:
            model: the network.
            recipe: how.
            progress: called after every step with the step, the number of steps and the loss.
            part: one of several trainings of the same network, which see other images.
        """
        fitting = self.fitting(model, recipe, part)
        fitting.advance(fitting.steps, progress)

    def fitting(self, model: nn.Module, recipe: Recipe, part: int = 0) -> Fitting:
        """Return a training that has not begun, which may pause; for its arguments see ``train``."""
        seed, device = (self.seed + part) % 2**32, str(self.data.device)
        return Fitting(model, self.data.splits, recipe, seed, device, self.distillation)

    def recipe_of(self, steps: int) -> Recipe:
        """Return the recipe of so many steps on a schedule of their own."""
        an_epoch = len(self.data.splits.train.labels) // self.recipe.batch_size
        return replace(self.recipe, epochs=steps / an_epoch)

    def train_steps(self, model: nn.Module, steps: int, progress: Progress | None = None, part: int = 0) -> None:
        """Train in place for some steps on a schedule of their own; for the rest see ``train``."""
        self.train(model, self.recipe_of(steps), progress, part)

    def train_briefly(self, model: nn.Module, steps: int, part: int, progress: Progress | None = None) -> Evaluation:
        """Train in place for some steps, and return how good the network is, on the search split."""
        self.train_steps(model, steps, progress, part)
        return self.score(model)

    def tune(self, engine: TorchEngine, strategy: Strategy, title: str, times: int = 1, *, once: bool = False) -> Tuned:
        """Prune and fine-tune; where that makes the network clearly worse on the search split, it is undone.

        Args:
            engine: prunes.
            strategy: how much.
            title: stands before the progress bar.
            times: how many times the epochs of the settings.
            once: take the network from the cache if another run came to the same, else leave it there.
        """
        recipe = finetuning_recipe(self.training, self.settings, times)
        # As training lays it out, so that it scores the same to the last bit before no step, and from the cache.
        model = self.data.place(engine.finish(strategy))
        before, untuned = self.score(model), copy.deepcopy(model.state_dict())

        def train() -> None:
            with TrainingProgress(title) as progress:
                self.train(model, recipe, progress)

        if once and steps_of(recipe, self.data.splits):
            self.cache.fill(model, self._key(model, recipe), title, train)
        else:
            train()
        after = self.score(model)
        lost = before.metric - after.metric
        if isfinite(after.loss) and lost > tolerated_loss(before.metric, len(self.score)):  # else refused if it wins
            _say_worse(title, before.metric, after.metric)
            model.load_state_dict(untuned)
            after = before
        return Tuned(strategy, model, before, after)

    def _key(self, pruned: nn.Module, recipe: Recipe) -> str:
        """Return a digest of all that a fine-tuned network depends on; ``pruned`` is what it begins as."""
        settings, data = self.settings, self.data
        taught = (digest_of(self.teacher), settings.distill, settings.temperature) if settings.distill else None
        training = cache_key(pruned, data.splits, recipe, self.seed, data.device)
        return hashlib.sha256(json.dumps([training, taught]).encode()).hexdigest()


def tolerated_loss(metric: float, images: int) -> float:
    """Return what fine-tuning may cost of the metric before it is undone: what few images cannot tell from chance.

    That is two standard errors of an accuracy on so many images, and a point at the least.
    """
    return max(TOLERATED, 2 * sqrt(metric * (1 - metric) / images))


def _say_worse(title: str, before: float, after: float) -> None:
    """Say that fine-tuning is undone: one's own network may have been trained with other settings."""
    log.warning(
        "%s: undone, as it made the network worse, %.1f%% on the search split instead of %.1f%%; lower train.lr or "
        "finetune.lr_factor, fine-tune for longer, or not at all (finetune.epochs=0)",
        title,
        100 * after,
        100 * before,
    )
