"""Which of a search's trials wins: the best are fine-tuned in a contest, and the best of those that end it wins."""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import isfinite

from torch import nn

from amc.progress import TrainingProgress
from amc.training.finetune import FineTuner, Tuned, tolerated_loss
from amc.training.sgd import Progress
from amc.training.successive_halving import MOST, choose_rungs, halve
from envs.engine.torch_engine import TorchEngine
from envs.engine.types import Evaluation, Strategy
from envs.search import Trial, quality

log = logging.getLogger(__name__)

SHORTEST = 10
"""Steps of a rung, at the least: what fewer do to a network says too little about it."""


@dataclass(frozen=True)
class Finalists:
    """Those who were fine-tuned to the end.

    Attributes:
        trials: by trial number, best first.
        uniform: uniform ratios, if they got there; they may be one of the trials, too.
    """

    trials: dict[int, Tuned]
    uniform: Tuned | None

    def __iter__(self) -> Iterator[Tuned]:
        """Go through all of them."""
        yield from self.trials.values()
        if self.uniform is not None:
            yield self.uniform


def tune_best(
    tuner: FineTuner,
    engine: TorchEngine,
    trials: Sequence[Trial],
    uniform: Strategy | Tuned,
    title: str = "",
    promising: Strategy | None = None,
    refit: Callable[[Strategy], Strategy] | None = None,
) -> Finalists:
    """Fine-tune the best trials of a search: many of them for a while, the better half for longer, one to the end.

    It takes as long as fine-tuning ``top_k`` of them to the end, which is what is done where there are no more.

    Args:
        tuner: fine-tunes.
        engine: that the search was on.
        trials: of the search; one at least is within the target.
        uniform: ratios that meet the same target: they take part, or are among the finalists if they are tuned.
        title: of the search, for messages; empty for a run of one stage.
        promising: a strategy that takes part beside the best, however it was scored, if it is one of the trials.
        refit: makes of a strategy that is to be fine-tuned to the end the one that is; none for itself.
    """
    best = best_trials(trials, MOST)
    if promising not in [trial.strategy for trial in best]:
        best += [trial for trial in trials if trial.strategy == promising][:1]
    finished = [uniform] if isinstance(uniform, Tuned) else []
    ratios = uniform.strategy if isinstance(uniform, Tuned) else uniform
    contestants = [trial.strategy for trial in best if trial.strategy != ratios]
    if promising in contestants[1:]:
        contestants.remove(promising)
        contestants.insert(1, promising)
    if not finished:
        contestants.append(ratios)
    prefix = f"{title}: " if title else ""
    if tuner.settings.top_k == 1 and tuner.steps and promising in contestants[1:]:
        contestants = [not_clearly_behind(tuner, engine, contestants[0], promising)]
    chosen = _choose(tuner, engine, contestants, keep_last=not finished, prefix=prefix) if contestants else []
    refitted = chosen if refit is None else list(map(refit, chosen))
    left = [strategy for strategy in dict.fromkeys(refitted) if strategy not in {each.strategy for each in finished}]
    for place, strategy in enumerate(left, 1):
        finished.append(tuner.tune(engine, strategy, f"{prefix}fine-tune {place} of {len(left)}"))
    by_strategy = {each.strategy: each for each in finished}
    tuned = {ratios: by_strategy[ratios]} if ratios in by_strategy else {}
    tuned |= {strategy: by_strategy[after] for strategy, after in zip(chosen, refitted, strict=True)}
    return Finalists(
        {trial.index: tuned[trial.strategy] for trial in best if trial.strategy in tuned}, tuned.get(ratios)
    )


def not_clearly_behind(tuner: FineTuner, engine: TorchEngine, best: Strategy, promising: Strategy) -> Strategy:
    """Return what is promising unless it is clearly behind the best of a search as fine-tuning begins with both.

    A search repairs its candidates more cheaply than that. Where little is left of a network its best is no better than
    what is promising: 1.7 points behind in the mean after fine-tuning ResNet-20 at 15% of the FLOPs, where it is half a
    point ahead at 30% (``benchmarks/study.md``). In a contest fine-tuning itself would tell.

    Args:
        tuner: its score tells which is ahead.
        engine: that the search was on.
        best: of the search.
        promising: what fine-tuning makes much of.
    """
    first, second = (tuner.score(engine.finish(strategy)).metric for strategy in (best, promising))
    behind = first - second > tolerated_loss(second, len(tuner.score))
    log.info("repaired, the best trial comes to %.4g, least error by depth to %.4g", first, second)
    return best if behind else promising


def _choose(
    tuner: FineTuner, engine: TorchEngine, strategies: Sequence[Strategy], *, keep_last: bool, prefix: str
) -> list[Strategy]:
    """Return which of the strategies, best first, are to be fine-tuned to the end.

    ``keep_last``: the last of them takes part even where only some do.
    """
    top_k = tuner.settings.top_k
    rungs = choose_rungs(len(strategies), top_k, tuner.steps, tuner.scoring_steps, SHORTEST)
    chosen = list(strategies[: rungs[0].contestants if rungs else top_k])
    if keep_last and len(chosen) > 1:
        chosen[-1] = strategies[-1]
    if not rungs:
        return chosen
    networks = {strategy: engine.finish(strategy) for strategy in chosen}

    def play(number: int, running: Sequence[Strategy]) -> list[tuple[float, ...]]:
        what = f"{prefix}{len(running)} networks, rung {number + 1} of {len(rungs)}"
        scores = play_rung(tuner, rungs[number].steps, number, [networks[strategy] for strategy in running], what)
        for strategy in set(networks) - set(running):
            del networks[strategy]
        return [quality_of(score) for score in scores]

    return halve(chosen, rungs, play)[:1]


def play_rung(
    tuner: FineTuner, steps: int, number: int, networks: Sequence[nn.Module], what: str = ""
) -> list[Evaluation]:
    """Train every network that is still in the contest in place, and score each.

    Args:
        tuner: trains.
        steps: of each.
        number: of the rung, from 0.
        networks: those who take part.
        what: this is, for messages.
    """
    with TrainingProgress(what) as progress:
        parts = [_part(progress, place, len(networks)) for place in range(len(networks))]
        scores = [
            tuner.train_briefly(network, steps, number, part) for network, part in zip(networks, parts, strict=True)
        ]
    best = max(scores, key=quality_of)
    log.info("%s: %d steps each, best top-1 on search %.2f%%", what, steps, 100 * best.metric)
    return scores


def _part(whole: Progress, place: int, count: int) -> Progress:
    """Return the progress of one of several trainings of equal length."""
    return lambda step, steps, loss: whole(place * steps + step, count * steps, loss)


def best_trials(trials: Iterable[Trial], count: int) -> list[Trial]:
    """Return the best feasible trials of different strategies, best first."""
    different: dict[Strategy, Trial] = {}
    for trial in trials:
        if trial.feasible:
            different.setdefault(trial.strategy, trial)
    return sorted(different.values(), key=quality, reverse=True)[:count]


def winner(candidates: Iterable[Tuned]) -> Tuned:
    """Return the best on the search split, the lower loss where they tie; the first where that ties, too."""
    return max(candidates, key=lambda tuned: quality_of(tuned.after))


def quality_of(evaluation: Evaluation) -> tuple[float, ...]:
    """Return the key to sort fine-tuned networks by, best last; a network that diverged is behind all others."""
    sound = isfinite(evaluation.loss)
    return float(sound), evaluation.metric, -evaluation.loss if sound else 0.0
