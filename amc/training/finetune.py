"""What happens to the best trials: fine-tuning, and the choice of a winner on the search split."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from torch import nn

from amc.config.recipe import Finetuning, Recipe
from amc.errors import ModelError
from amc.progress import TrainingProgress
from amc.seeding import seed_everything
from amc.training.sgd import fit
from amc.zoo.data.device_data import DeviceData
from envs.engine.scoring.top1 import Top1Scorer
from envs.engine.torch_engine import TorchEngine
from envs.engine.types import Evaluation, Strategy
from envs.search import Trial, quality


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


@dataclass(frozen=True)
class FineTuner:
    """Fine-tunes pruned networks, all by one recipe and from the same seed.

    Attributes:
        settings: how.
        training: how the dense network was trained, whose recipe fine-tuning goes by.
        data: what is trained on.
        score: scores a network on the search split.
        seed: fixes order and augmentation.
    """

    settings: Finetuning
    training: Recipe
    data: DeviceData
    score: Top1Scorer
    seed: int

    def tune(self, engine: TorchEngine, strategy: Strategy, title: str, times: int = 1) -> Tuned:
        """Prune and fine-tune.

        Args:
            engine: prunes.
            strategy: how much.
            title: stands before the progress bar.
            times: how many times the epochs of the settings.
        """
        recipe = finetuning_recipe(self.training, self.settings.epochs * times, self.settings.lr_factor)
        model = engine.prune(strategy)
        before = self.score(model)
        seed_everything(self.seed)
        with TrainingProgress(title) as progress:
            fit(model, self.data.splits, recipe, self.seed, str(self.data.device), progress)
        return Tuned(strategy, model, before, self.score(model))


def tune_best(
    tuner: FineTuner, engine: TorchEngine, trials: Sequence[Trial], target: float, title: str = ""
) -> dict[int, Tuned]:
    """Fine-tune the best trials of a search, and return them by trial number.

    Args:
        tuner: fine-tunes.
        engine: that the search was on.
        trials: of the search.
        target: of the search, for messages.
        title: of the search, for messages; empty for a run of one stage.

    Raises:
        ModelError: no trial is within the target.
    """
    best = best_trials(trials, tuner.settings.top_k)
    prefix = f"{title}: " if title else ""
    if not best:
        raise ModelError(f"{prefix}none of {len(trials)} trials is within target={target}: more episodes may help")
    return {
        trial.index: tuner.tune(engine, trial.strategy, f"{prefix}fine-tune {rank} of {len(best)}")
        for rank, trial in enumerate(best, 1)
    }


def best_trials(trials: Iterable[Trial], count: int) -> list[Trial]:
    """Return the best feasible trials of different strategies, best first."""
    different: dict[Strategy, Trial] = {}
    for trial in trials:
        if trial.feasible:
            different.setdefault(trial.strategy, trial)
    return sorted(different.values(), key=quality, reverse=True)[:count]


def finetuning_recipe(training: Recipe, epochs: float, lr_factor: float) -> Recipe:
    """Return the recipe of fine-tuning: training's, at a fraction of its learning rate."""
    return replace(training, epochs=epochs, lr=training.lr * lr_factor)


def winner(candidates: Iterable[Tuned]) -> Tuned:
    """Return the best on the search split, the lower loss where they tie."""
    return max(candidates, key=lambda tuned: (tuned.after.metric, -tuned.after.loss))
