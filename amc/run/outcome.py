"""What a run came to: its last search, the fine-tuned candidates, the winner and its reference."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from math import isfinite

from torch import nn

from amc.errors import ModelError
from amc.run.rounds.measured_target import MeasuredTarget
from amc.run.stage import Stage
from amc.training.choice import Finalists, tune_best, winner
from amc.training.finetune import FineTuner, Tuned
from baselines.known_strategies import BY_DEPTH, known_strategies
from baselines.uniform import uniform_trial
from envs.search import Trial


@dataclass(frozen=True)
class Outcome:
    """What a search came to.

    Attributes:
        first: the whole run's stage, on its dense network.
        last: what was searched on: the whole run's stage, or the last of several.
        trials: all of them, in order.
        candidates: the trials that were fine-tuned to the end, by number.
        uniform: one ratio for all layers of the run's dense network, fine-tuned for as many epochs as found in total.
        found: the best of the candidates and of uniform ratios, which always take part.
    """

    first: Stage
    last: Stage
    trials: Sequence[Trial]
    candidates: dict[int, Tuned]
    uniform: Tuned
    found: Tuned


def finalists_of(
    tuner: FineTuner,
    stage: Stage,
    trials: Sequence[Trial],
    uniform: Tuned | None = None,
    timed: MeasuredTarget | None = None,
) -> Finalists:
    """Fine-tune the best trials of a stage, and uniform ratios among them.

    Args:
        tuner: fine-tunes.
        stage: that the search was on.
        trials: of the search.
        uniform: uniform ratios for the stage's network, if they were fine-tuned before.
        timed: fits what is fine-tuned to the end to the clock.

    Raises:
        ModelError: no trial is within the target.
    """
    if not any(trial.feasible for trial in trials):
        prefix = f"{stage.title}: " if stage.title else ""
        raise ModelError(
            f"{prefix}none of {len(trials)} trials is within target={stage.target}: more episodes may help"
        )
    ratios = uniform or uniform_trial(stage.problem).strategy
    # Networks that are handed over are repaired otherwise than trials, which it suits.
    promising = known_strategies(stage.problem).get(BY_DEPTH)
    refit = None if timed is None else partial(timed.found, stage)
    return tune_best(tuner, stage.engine, trials, ratios, stage.title, promising, refit)


def choose_winner(
    tuner: FineTuner, first: Stage, last: Stage, trials: Sequence[Trial], timed: MeasuredTarget | None = None
) -> Outcome:
    """Fine-tune the best trials, and uniform ratios beside them; the winner is chosen on the search split.

    Args:
        tuner: fine-tunes.
        first: the whole run's stage, for uniform ratios.
        last: what was searched on, the same one in a run of one stage.
        trials: of that search.
        timed: fits what is fine-tuned to the clock, where there is a limit on latency.

    Raises:
        ModelError: no trial is within the target, or fine-tuning broke all that are.
    """
    ratios = uniform_trial(first.problem).strategy if timed is None else timed.uniform(first)
    uniform = tuner.tune(first.engine, ratios, "fine-tune uniform", times=last.number, once=True)
    finalists = finalists_of(tuner, last, trials, uniform if first is last else None, timed)
    return Outcome(first, last, trials, finalists.trials, uniform, sound_winner(finalists))


def sound_winner(finalists: Iterable[Tuned], title: str = "") -> Tuned:
    """Return the best of those whose weights and statistics fine-tuning has left as numbers.

    With the others nothing can go on: their files would be refused.

    Args:
        finalists: fine-tuned.
        title: of the stage, for the message; empty for a run of one.

    Raises:
        ModelError: there is none.
    """
    sound = [tuned for tuned in finalists if isfinite(tuned.after.loss) and _is_finite(tuned.model)]
    if not sound:
        prefix, more = (f"{title}: ", ", or take fewer stages") if title else ("", "")
        raise ModelError(f"{prefix}fine-tuning diverged; lower finetune.lr_factor{more}")
    return winner(sound)


def _is_finite(network: nn.Module) -> bool:
    return all(bool(tensor.isfinite().all()) for tensor in network.state_dict().values())
