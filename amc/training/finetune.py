"""What happens to the best trials: fine-tuning, and the choice of a winner on the search split."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace

from torch import nn

from amc.errors import ModelError
from amc.progress import TrainingProgress
from amc.run.bench import Bench
from amc.seeding import seed_everything
from amc.training.sgd import Recipe, fit
from baselines.uniform import uniform_trial
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
class Outcome:
    """What a search came to.

    Attributes:
        bench: what was searched on: the run's own, or that of its last stage.
        trials: all of them, in order.
        candidates: the best few, fine-tuned, by trial number.
        uniform: one ratio for all layers of the run's dense network, fine-tuned for as many epochs as found in total.
        found: the best of the candidates.
    """

    bench: Bench
    trials: list[Trial]
    candidates: dict[int, Tuned]
    uniform: Tuned
    found: Tuned


def finetune_best(first: Bench, last: Bench, trials: list[Trial]) -> Outcome:
    """Fine-tune the best trials, and uniform ratios beside them; the winner is chosen on the search split.

    Args:
        first: the run's bench, for uniform ratios.
        last: what was searched on, the same one in a run of one stage.
        trials: of that search.

    Raises:
        ModelError: no trial is within the target.
    """
    tuner = FineTuner(last, last.cfg.finetune.epochs)
    candidates = tune_candidates(tuner, last, trials)
    if first is not last:
        tuner = FineTuner(first, first.cfg.finetune.epochs * first.cfg.stages)
    uniform = tuner.tune(uniform_trial(first.problem).strategy, "fine-tune uniform")
    return Outcome(last, trials, candidates, uniform, winner(candidates.values()))


def tune_candidates(tuner: "FineTuner", bench: Bench, trials: Sequence[Trial]) -> dict[int, Tuned]:
    """Fine-tune the best trials of a search, and return them by trial number.

    Raises:
        ModelError: no trial is within the target.
    """
    best = best_trials(trials, bench.cfg.finetune.top_k)
    title = f"{bench.title}: " if bench.title else ""
    if not best:
        raise ModelError(f"{title}none of {len(trials)} trials is within target={bench.target}: more episodes may help")
    return {
        trial.index: tuner.tune(trial.strategy, f"{title}fine-tune {rank} of {len(best)}")
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


class FineTuner:
    """Fine-tunes strategies with one recipe, each once, all from the same seed."""

    def __init__(self, bench: Bench, epochs: float) -> None:
        finetune = bench.cfg.finetune
        training = Recipe(**asdict(bench.cfg.train))
        self._bench = bench
        self._recipe = finetuning_recipe(training, epochs, finetune.lr_factor)
        self._tuned: dict[Strategy, Tuned] = {}

    def tune(self, strategy: Strategy, title: str) -> Tuned:
        """Prune and fine-tune; ``title`` stands before the progress bar."""
        if strategy not in self._tuned:
            self._tuned[strategy] = self._tune(strategy, title)
        return self._tuned[strategy]

    def _tune(self, strategy: Strategy, title: str) -> Tuned:
        bench = self._bench
        model = bench.engine.prune(strategy)
        before = bench.score(model)
        seed_everything(bench.cfg.seed)
        with TrainingProgress(title) as progress:
            fit(model, bench.splits, self._recipe, bench.cfg.seed, str(bench.device), progress)
        return Tuned(strategy, model, before, bench.score(model))


def winner(candidates: Iterable[Tuned]) -> Tuned:
    """Return the best on the search split, the lower loss where they tie."""
    return max(candidates, key=lambda tuned: (tuned.after.metric, -tuned.after.loss))
