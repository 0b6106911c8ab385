import math
import time
from dataclasses import dataclass

import gymnasium as gym
import numpy as np
import pytest

from envs.engine.analytic import AnalyticEngine
from envs.engine.types import Cost, Evaluation, Layer, Strategy
from envs.pruning_env import CONSTRAINTS, PruningEnv
from envs.search import EpisodesExhausted, NothingPlayed, RecordTrials, Trial, play_strategy, run_episode
from envs.search import play as play_policy


@dataclass(frozen=True)
class Scripted:
    """The small engine, with losses that decide between equal metrics and a wait that can be timed."""

    inner: AnalyticEngine
    wait: float = 0.0
    losses: bool = True

    @property
    def layers(self) -> tuple[Layer, ...]:
        return self.inner.layers

    def cost(self, strategy: Strategy) -> Cost:
        return self.inner.cost(strategy)

    def evaluate(self, strategy: Strategy) -> Evaluation:
        time.sleep(self.wait)
        return Evaluation(metric=0.5, loss=strategy[0] if self.losses else math.nan, n_samples=1)


def play(env: RecordTrials, keep: float) -> Trial:
    return run_episode(env, lambda _: keep)


def test_an_episode_is_a_trial(small_engine: AnalyticEngine) -> None:
    seen: list[Trial] = []
    env = RecordTrials(PruningEnv(small_engine), episodes=3, sinks=[seen.append])
    trials = [play(env, 0.5), run_episode(env, lambda observation: float(observation[0]) / 2 + 0.4)]
    assert env.trials == trials == seen
    assert [trial.index for trial in trials] == [0, 1]
    assert env.remaining == 1
    for trial in trials:
        assert trial.evaluation == small_engine.evaluate(trial.strategy)
        assert trial.cost == small_engine.cost(trial.strategy)
        assert trial.reward == trial.evaluation.metric - 1
    assert env.best == max(trials, key=lambda trial: trial.reward)


def test_a_repeated_strategy_counts_again(small_engine: AnalyticEngine) -> None:
    env = RecordTrials(PruningEnv(small_engine), episodes=2)
    assert play(env, 0.5).strategy == play(env, 0.5).strategy
    assert env.remaining == 0


def test_the_budget_cannot_be_exceeded_but_a_last_reset_is_free(small_engine: AnalyticEngine) -> None:
    env = RecordTrials(PruningEnv(small_engine), episodes=1)
    play(env, 0.5)
    env.reset()
    with pytest.raises(EpisodesExhausted, match="all 1 episodes"):
        env.step(np.array([0.5], dtype=np.float32))
    assert len(env.trials) == 1


def test_an_episode_that_is_given_up_costs_nothing(small_engine: AnalyticEngine) -> None:
    env = RecordTrials(PruningEnv(small_engine), episodes=1)
    env.reset()
    env.step(np.array([0.5], dtype=np.float32))
    assert play(env, 0.5).index == 0


def test_loss_breaks_ties(small_engine: AnalyticEngine) -> None:
    env = RecordTrials(PruningEnv(Scripted(small_engine), constraint="bound"), episodes=3)
    first, second, third = play(env, 1.0), play(env, 0.4), play(env, 0.4)
    assert first.reward == second.reward == third.reward
    assert env.best is second


def test_without_losses_the_earliest_of_equals_is_best(small_engine: AnalyticEngine) -> None:
    env = RecordTrials(PruningEnv(Scripted(small_engine, losses=False), constraint="bound"), episodes=2)
    first, _ = play(env, 1.0), play(env, 0.4)
    assert env.best is first


def test_there_is_no_best_of_nothing(small_engine: AnalyticEngine) -> None:
    with pytest.raises(ValueError, match="none of the 0 trials"):
        _ = RecordTrials(PruningEnv(small_engine), episodes=1).best


def test_seconds_hold_the_policy_and_the_engine(small_engine: AnalyticEngine) -> None:
    env = RecordTrials(PruningEnv(Scripted(small_engine, wait=0.02)), episodes=2)
    play(env, 0.5)
    time.sleep(0.03)
    trial = play(env, 0.5)
    assert 0.02 <= trial.engine_seconds < trial.seconds
    assert trial.seconds >= 0.05, "thinking between episodes is the policy's time"


def test_wrappers_may_lie_between(small_engine: AnalyticEngine) -> None:
    problem = PruningEnv(small_engine)
    env = RecordTrials(gym.wrappers.TimeLimit(problem, max_episode_steps=10), episodes=1)
    assert env.problem is problem
    assert play(env, 0.5).feasible


def test_a_search_needs_an_episode_and_a_pruning_problem(small_engine: AnalyticEngine) -> None:
    with pytest.raises(ValueError, match="episodes=0"):
        RecordTrials(PruningEnv(small_engine), episodes=0)
    with pytest.raises(TypeError, match="PruningEnv"):
        RecordTrials(gym.make("CartPole-v1"), episodes=1)


def test_a_scored_strategy_is_scored_as_it_is_and_counts(small_engine: AnalyticEngine) -> None:
    seen: list[Trial] = []
    env = RecordTrials(PruningEnv(small_engine), episodes=2, sinks=[seen.append])
    strategy = (1.0, 0.5, 1.0, 1.0)
    point, trial = env.score_strategy(strategy), play(env, 0.5)
    assert (point.index, trial.index, env.remaining) == (0, 1, 0)
    assert seen == env.trials == [point, trial]
    assert point.strategy == strategy
    assert (point.evaluation, point.cost) == (small_engine.evaluate(strategy), small_engine.cost(strategy))
    assert point.reward == point.evaluation.metric - 1
    with pytest.raises(EpisodesExhausted, match="all 2 episodes"):
        env.score_strategy(strategy)


@pytest.mark.parametrize("constraint", CONSTRAINTS)
def test_a_scored_strategy_beyond_the_target_is_never_the_best(small_engine: AnalyticEngine, constraint: str) -> None:
    env = RecordTrials(PruningEnv(small_engine, constraint=constraint), episodes=3)
    dense = env.score_strategy((1.0,) * 4)
    assert not dense.feasible
    with pytest.raises(ValueError, match="none of the 1 trials is within the target"):
        _ = env.best
    trial = play(env, 0.5)
    assert trial.reward < dense.reward
    assert env.best is trial
    assert env.score_strategy(trial.strategy).feasible, "within the target is within the target, whoever asked"


def test_a_scored_strategy_is_rounded_as_a_step_is(small_engine: AnalyticEngine) -> None:
    env = RecordTrials(PruningEnv(small_engine, min_keep=0.3), episodes=1)
    assert env.score_strategy((0.01, 0.49, 0.51, 1.0)).strategy == (0.5, 0.5, 0.5, 1.0)


def test_a_scored_strategy_has_a_ratio_for_every_layer(small_engine: AnalyticEngine) -> None:
    env = RecordTrials(PruningEnv(small_engine), episodes=1)
    with pytest.raises(ValueError, match="needs 4 keep ratios"):
        env.score_strategy((1.0, 0.5))
    assert env.remaining == 1


def test_a_scored_strategy_leaves_the_running_episode_alone(small_engine: AnalyticEngine) -> None:
    env = RecordTrials(PruningEnv(small_engine), episodes=3)
    env.reset()
    env.step(np.array([0.25], dtype=np.float32))
    env.score_strategy((1.0,) * 4)
    for _ in range(3):
        *_, info = env.step(np.array([0.25], dtype=np.float32))
    assert info["strategy"] == play(env, 0.25).strategy


def test_a_strategy_is_played(small_engine: AnalyticEngine) -> None:
    env = RecordTrials(PruningEnv(small_engine, constraint="bound"), episodes=1)
    assert play_strategy(env, (0.25, 0.5, 0.75, 0.5)).strategy == (0.25, 0.5, 0.75, 0.5)


class Greedy:
    """Plays until the referee stops it."""

    def search(self, env: RecordTrials) -> None:
        while True:
            run_episode(env, lambda _: 0.5)


class Idle:
    """Begins an episode and leaves it."""

    def search(self, env: RecordTrials) -> None:
        env.reset()


def test_running_out_of_episodes_is_the_end_of_a_search(small_engine: AnalyticEngine) -> None:
    env = RecordTrials(PruningEnv(small_engine), 3)
    play_policy(Greedy(), env)
    assert len(env.trials) == 3


def test_a_policy_that_plays_nothing_is_told_so(small_engine: AnalyticEngine) -> None:
    with pytest.raises(NothingPlayed, match=r"Idle.search\(env\) returned without having played an episode"):
        play_policy(Idle(), RecordTrials(PruningEnv(small_engine), 3))


@pytest.mark.parametrize("ahead", [1, 3, 9])
def test_no_more_is_asked_for_than_may_be_played(small_engine: AnalyticEngine, ahead: int) -> None:
    env = RecordTrials(PruningEnv(small_engine), episodes=5)
    layers = len(small_engine.layers)
    play(env, 0.9)
    wanted = [(0.1 * number,) * layers for number in range(1, 10)]
    left = iter(wanted)
    found = list(env.play_ahead(left, ahead))
    assert [trial.index for trial in found] == [1, 2, 3, 4]
    assert next(left) == wanted[4]
    assert not list(env.play_ahead(left, ahead))
    one_by_one = RecordTrials(PruningEnv(small_engine), episodes=5)
    assert [trial.reward for trial in found] == [play_strategy(one_by_one, each).reward for each in wanted[:4]]


def test_what_a_wrapper_between_makes_of_rewards_counts(small_engine: AnalyticEngine) -> None:
    env = RecordTrials(gym.wrappers.TransformReward(PruningEnv(small_engine), lambda reward: 7 - float(reward)), 2)
    plain = RecordTrials(PruningEnv(small_engine), 2)
    wanted = [(0.3,) * len(small_engine.layers), (0.6,) * len(small_engine.layers)]
    rewards = [[trial.reward for trial in each.play_ahead(wanted, 2)] for each in (env, plain)]
    assert rewards[0] == [7 - reward for reward in rewards[1]]
