"""What a run came to: its last search, the fine-tuned candidates, the winner and its reference."""

from collections.abc import Sequence
from dataclasses import dataclass

from amc.run.stage import Stage
from amc.training.finetune import FineTuner, Tuned, tune_best, winner
from baselines.uniform import uniform_trial
from envs.search import Trial


@dataclass(frozen=True)
class Outcome:
    """What a search came to.

    Attributes:
        first: the whole run's stage, on its dense network.
        last: what was searched on: the whole run's stage, or the last of several.
        trials: all of them, in order.
        candidates: the best few, fine-tuned, by trial number.
        uniform: one ratio for all layers of the run's dense network, fine-tuned for as many epochs as found in total.
        found: the best of the candidates.
    """

    first: Stage
    last: Stage
    trials: Sequence[Trial]
    candidates: dict[int, Tuned]
    uniform: Tuned
    found: Tuned


def choose_winner(tuner: FineTuner, first: Stage, last: Stage, trials: Sequence[Trial]) -> Outcome:
    """Fine-tune the best trials, and uniform ratios beside them; the winner is chosen on the search split.

    Args:
        tuner: fine-tunes.
        first: the whole run's stage, for uniform ratios.
        last: what was searched on, the same one in a run of one stage.
        trials: of that search.

    Raises:
        ModelError: no trial is within the target.
    """
    candidates = tune_best(tuner, last.engine, trials, last.target, last.title)
    strategy = uniform_trial(first.problem).strategy
    tuned = {each.strategy: each for each in candidates.values()} if first is last else {}
    # The candidates' network, where one has uniform ratios: all are fine-tuned alike.
    uniform = tuned.get(strategy) or tuner.tune(first.engine, strategy, "fine-tune uniform", times=last.number)
    return Outcome(first, last, trials, candidates, uniform, winner(candidates.values()))
