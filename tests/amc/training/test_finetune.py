import signal
from dataclasses import replace

import pytest
from torch import nn

from amc.run.interrupt import SearchStopped, StopOnSignal
from amc.training.choice import best_trials, winner
from amc.training.finetune import Tuned
from envs.engine.types import Evaluation
from envs.search import Trial


def test_the_best_trials_are_feasible_and_different(sample_trials: list[Trial]) -> None:
    trials = [replace(trial, strategy=(index / 10 + 0.1, 0.5)) for index, trial in enumerate(sample_trials)]
    trials.append(replace(trials[7], index=9))
    assert [trial.index for trial in best_trials(trials, 3)] == [7, 5, 6]
    assert len(best_trials(trials, 100)) == 8
    assert best_trials([trial for trial in trials if not trial.feasible], 3) == []


def test_the_winner_has_the_best_metric_and_then_the_lowest_loss() -> None:
    scores = [(0.9, 0.1), (0.95, 0.3), (0.95, 0.2)]
    tuned = [Tuned((keep,), nn.Identity(), Evaluation(0, 0, 1), Evaluation(*keep, 10)) for keep in scores]
    assert winner(tuned) is tuned[2]


def test_a_signal_ends_the_search_behind_the_trial_and_a_second_one_at_once(sample_trials: list[Trial]) -> None:
    before = signal.getsignal(signal.SIGTERM)
    with StopOnSignal() as stop:
        stop(sample_trials[0])
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(SearchStopped, match="after 2 trials"):
            stop(sample_trials[1])
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGTERM) is before
