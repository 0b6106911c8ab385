"""Which of a search's trials wins: the best are fine-tuned in a contest, and the best of those that end it wins."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import isfinite

from amc.progress import TrainingProgress
from amc.training.finetune import FineTuner, Tuned, Tuning
from amc.training.sgd import Progress
from amc.training.successive_halving import MOST, Rung, choose_rungs, halve
from envs.engine.torch_engine import TorchEngine
from envs.engine.types import Evaluation, Strategy
from envs.search import Trial, quality

log = logging.getLogger(__name__)

SHORTEST = 10
"""Steps of the first rung, at the least: what fewer do to a network says too little about it."""


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
    tuner: FineTuner, engine: TorchEngine, trials: Sequence[Trial], uniform: Strategy | Tuned, title: str = ""
) -> Finalists:
    """Fine-tune the best trials of a search: many of them for a while, the better half for longer, and so on.

    It takes as long as fine-tuning ``top_k`` of them to the end.

    Args:
        tuner: fine-tunes.
        engine: that the search was on.
        trials: of the search; one at least is within the target.
        uniform: ratios that meet the same target: they take part, or are among the finalists if they are tuned.
        title: of the search, for messages; empty for a run of one stage.
    """
    best = best_trials(trials, MOST)
    finished = [uniform] if isinstance(uniform, Tuned) else []
    ratios = uniform.strategy if isinstance(uniform, Tuned) else uniform
    contestants = [trial.strategy for trial in best if trial.strategy != ratios]
    if not finished:
        contestants.append(ratios)
    if contestants:
        finished += _contest(tuner, engine, contestants, keep_last=len(finished) == 0, title=title)
    tuned = {each.strategy: each for each in finished}
    return Finalists(
        {trial.index: tuned[trial.strategy] for trial in best if trial.strategy in tuned}, tuned.get(ratios)
    )


def _contest(
    tuner: FineTuner, engine: TorchEngine, strategies: Sequence[Strategy], *, keep_last: bool, title: str
) -> list[Tuned]:
    """Fine-tune as many of the strategies, best first, as there is time for, and return those that get to the end.

    ``keep_last``: the last of them takes part even where only some do.
    """
    rungs = choose_rungs(len(strategies), tuner.settings.top_k, tuner.steps, tuner.scoring_steps, SHORTEST)
    chosen = list(strategies[: rungs[0].contestants])
    if keep_last and len(chosen) > 1:
        chosen[-1] = strategies[-1]
    after: dict[Strategy, Evaluation] = {}

    def play(number: int, running: Sequence[Tuning]) -> list[tuple[float, ...]]:
        scores = play_rung(rungs, number, running, title)
        after.update({tuning.strategy: score for tuning, score in zip(running, scores, strict=True)})
        return [quality_of(score) for score in scores]

    ended = halve([tuner.begin(engine, strategy) for strategy in chosen], rungs, play)
    return [tuning.tuned(after[tuning.strategy]) for tuning in ended]


def play_rung(rungs: Sequence[Rung], number: int, running: Sequence[Tuning], title: str = "") -> list[Evaluation]:
    """Train every network that is still in the contest to the end of a rung, and score each.

    Args:
        rungs: of the contest.
        number: which one, from 0.
        running: who takes part.
        title: of the search, for messages.
    """
    steps = rungs[number].steps
    done = rungs[number - 1].steps if number else 0
    what = f"fine-tune {len(running)} network{'s' if len(running) > 1 else ''}"
    if len(rungs) > 1:
        what += f", rung {number + 1} of {len(rungs)}"
    what = f"{title}: {what}" if title else what
    with TrainingProgress(what) as progress:
        parts = [_part(progress, place, len(running), steps - done) for place in range(len(running))]
        scores = [tuning.advance(steps, part) for tuning, part in zip(running, parts, strict=True)]
    best = max(scores, key=quality_of)
    log.info("%s: best top-1 on search %.2f%% after %d steps", what, 100 * best.metric, steps)
    return scores


def _part(whole: Progress, place: int, count: int, steps: int) -> Progress:
    """Return the progress of one of several trainings of ``steps`` each."""
    return lambda step, end, loss: whole(place * steps + steps - (end - step), count * steps, loss)


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
