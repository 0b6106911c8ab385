"""Fine-tuning of pruned networks, all alike: by one recipe, from one seed, with the dense network as teacher."""

import hashlib
import json
from dataclasses import dataclass, replace
from math import ceil

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


@dataclass(frozen=True)
class Tuned:
    """A pruned network after fine-tuning.

    Attributes:
        strategy: what was pruned.
        model: the network, in eval mode.
        before: how good it was before fine-tuning, on the search split.
        after: how good it is, on the search split.
    """

    strategy: Strategy
    model: nn.Module
    before: Evaluation
    after: Evaluation


def finetuning_recipe(training: Recipe, settings: Finetuning, times: int = 1) -> Recipe:
    """Return the recipe of fine-tuning: training's, at a fraction of its learning rate, ``times`` as many epochs."""
    return replace(training, epochs=settings.epochs * times, lr=training.lr * settings.lr_factor)


class Tuning:
    """A pruned network on its way through fine-tuning.

    Attributes:
        strategy: what was pruned.
        model: the network, in eval mode while it pauses.
        steps: of the whole way.
    """

    def __init__(self, engine: TorchEngine, strategy: Strategy, fitting: Fitting, score: Top1Scorer) -> None:
        self.strategy = strategy
        self.model = fitting.model
        self.steps = fitting.steps
        self._engine = engine
        self._fitting = fitting
        self._score = score

    def advance(self, steps: int, progress: Progress | None = None) -> Evaluation:
        """Train until so many steps are taken, and return how good the network is then, on the search split."""
        self._fitting.advance(steps, progress)
        return self._score(self.model)

    def tuned(self, after: Evaluation) -> Tuned:
        """Return the network as one that is fine-tuned; ``after`` is how good it is."""
        return Tuned(self.strategy, self.model, self._score(self._engine.prune(self.strategy)), after)


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
        return steps_of(finetuning_recipe(self.training, self.settings), self.data.splits)

    @property
    def scoring_steps(self) -> int:
        """Steps that take about as long as scoring a network, a third of what the same images take in training."""
        return ceil(len(self.score) / (3 * self.training.batch_size))

    def begin(self, engine: TorchEngine, strategy: Strategy, times: int = 1) -> Tuning:
        """Prune a network that is to be fine-tuned.

        Args:
            engine: prunes.
            strategy: how much.
            times: how many times the epochs of the settings.
        """
        settings, data = self.settings, self.data
        distillation = Distillation(self.teacher, settings.distill, settings.temperature) if settings.distill else None
        recipe = finetuning_recipe(self.training, settings, times)
        fitting = Fitting(engine.prune(strategy), data.splits, recipe, self.seed, str(data.device), distillation)
        return Tuning(engine, strategy, fitting, self.score)

    def tune_once(self, engine: TorchEngine, strategy: Strategy, title: str, times: int = 1) -> Tuned:
        """Prune and fine-tune to the end, unless another run did the same before: then its network is in the cache.

        ``title`` stands before the progress bar; the other arguments are those of :meth:`begin`.
        """
        tuning = self.begin(engine, strategy, times)

        def train() -> None:
            with TrainingProgress(title) as progress:
                tuning.advance(tuning.steps, progress)

        if tuning.steps:
            self.cache.fill(tuning.model, self._key(tuning.model, times), title, train)
        return tuning.tuned(self.score(tuning.model))

    def _key(self, pruned: nn.Module, times: int) -> str:
        """Return a digest of all that a fine-tuned network depends on; ``pruned`` is what it begins as."""
        settings, data = self.settings, self.data
        recipe = finetuning_recipe(self.training, settings, times)
        taught = (digest_of(self.teacher), settings.distill, settings.temperature) if settings.distill else None
        training = cache_key(pruned, data.splits, recipe, self.seed, data.device)
        return hashlib.sha256(json.dumps([training, taught]).encode()).hexdigest()
