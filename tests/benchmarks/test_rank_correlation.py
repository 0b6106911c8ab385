import json
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import spearmanr

from benchmarks.fidelity import Record, figures_of, mean_of
from benchmarks.fidelity_strategies import draw
from benchmarks.rank_correlation import better_half, interval, ranking, resampled, spearman
from envs.engine.analytic import AnalyticEngine
from envs.pruning_env import PruningEnv


class WithScores(AnalyticEngine):
    """Units of falling importance, for the global threshold."""

    def unit_scores(self, step: int) -> tuple[float, ...]:
        return tuple(float(unit) for unit in range(self.layers[step].units, 0, -1))


def test_rank_correlation_is_scipys_with_and_without_ties() -> None:
    rng = np.random.default_rng(0)
    for digits in (1, 5):
        x, y = rng.normal(size=(2, 25)).round(digits)
        assert spearman(x, y) == pytest.approx(spearmanr(x, y).statistic)


def test_a_reward_that_is_the_same_for_all_ranks_nothing() -> None:
    assert spearman(np.ones(5), np.arange(5.0)) == 0


def test_the_better_half_is_of_those_that_are_best_after_fine_tuning() -> None:
    after = np.array([0.1, 0.9, 0.2, 0.8, 0.3, 0.7])
    assert better_half(after).tolist() == [1, 3, 5]
    # The reward orders the worse half as it should be and turns the better half round.
    reward = np.array([1.0, 4.0, 2.0, 5.0, 3.0, 6.0])
    found = ranking(reward, after)
    assert found.half == -1
    assert found.all == pytest.approx(spearmanr(reward, after).statistic)


def test_intervals_hold_the_correlation_and_shrink_with_strategies() -> None:
    rng = np.random.default_rng(1)
    widths = []
    for count in (20, 200):
        x = rng.normal(size=count)
        y = x + rng.normal(size=count)
        low, high = interval(resampled(x, y, 0)[:, 0])
        assert low < spearman(x, y) < high
        widths.append(high - low)
    assert widths[1] < widths[0] / 2


def test_a_reward_is_compared_with_accuracy_on_the_same_samples() -> None:
    rng = np.random.default_rng(2)
    rows = [
        {
            "rewards": {"accuracy": value, "same": 2 * value + 1, "other": float(rng.normal())},
            "seconds": {"accuracy": 1.0, "same": 1.0, "other": 3.0},
            "after": [value + noise],
        }
        for value, noise in rng.normal(size=(12, 2)).tolist()
    ]
    figures, samples = figures_of(rows, seed=0)
    assert figures["same"]["half_over_accuracy_interval"] == [0, 0]
    assert figures["other"]["half_over_accuracy_interval"] != [0, 0]
    assert figures["other"]["seconds"] == 3
    mean = mean_of({"a": figures, "b": figures}, {"a": samples, "b": samples})
    assert mean["other"]["half"] == figures["other"]["half"]
    assert mean["other"]["half_interval"] == figures["other"]["half_interval"]


def test_strategies_are_different_within_the_target_and_follow_from_the_seed() -> None:
    problem = PruningEnv(WithScores(), target=0.4)
    drawn = draw(problem, 20, seed=3)
    assert [one.source for one in drawn[:3]] == ["uniform", "least error", "global threshold"]
    assert len({one.strategy for one in drawn}) == 20
    assert all(problem.budget.fits(one.strategy) for one in drawn)
    assert draw(problem, 20, seed=3) == drawn
    assert draw(problem, 20, seed=4)[3:] != drawn[3:]
    # More strategies begin with the same, so that a longer run goes on with a shorter one's records.
    assert draw(problem, 25, seed=3)[:20] == drawn


def test_a_record_goes_on_behind_a_torn_line_and_only_with_the_same_settings(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "cell.jsonl"
    record = Record(path, {"steps": 3})
    record.add({"strategy": 0})
    record.add({"strategy": 1})
    path.write_text(path.read_text()[:-5])
    again = Record(path, {"steps": 3})
    assert again.rows == [{"strategy": 0}]
    again.add({"strategy": 1})
    assert [json.loads(line) for line in path.read_text().splitlines()][1:] == [{"strategy": 0}, {"strategy": 1}]
    with pytest.raises(SystemExit, match="measured with other settings"):
        Record(path, {"steps": 4})
