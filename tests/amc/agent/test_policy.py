import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from amc.agent.ddpg import AMCDDPG
from amc.agent.policy import AMC, PaperAMC
from baselines.known_strategies import known_strategies
from baselines.least_error import LeastError
from baselines.reconstruction import Reconstruction
from envs.engine.analytic import AnalyticEngine
from envs.engine.types import Evaluation, Strategy
from envs.pruning_env import PruningEnv
from envs.search import RecordTrials, quality

EPISODES = 8


def make_env(constraint: str = "rescale", engine: AnalyticEngine | None = None) -> RecordTrials:
    return RecordTrials(PruningEnv(engine or AnalyticEngine(), constraint=constraint, min_keep=0.2), EPISODES)


def make_agent(policy: AMC, env: RecordTrials) -> AMCDDPG:
    return policy.make_agent(env)


def updates(optimizer: torch.optim.Optimizer) -> int:
    """Return how many steps an optimizer has taken."""
    (steps,) = {int(state["step"]) for state in optimizer.state.values()}
    return steps


PAPER = PaperAMC()


def test_the_networks_and_values_are_the_papers() -> None:
    agent = make_agent(PAPER, make_env())
    shapes = [tuple(weight.shape) for weight in agent.actor.parameters() if weight.ndim == 2]
    assert shapes == [(300, 11), (300, 300), (1, 300)]
    shapes = [tuple(weight.shape) for weight in agent.critic.parameters() if weight.ndim == 2]
    assert shapes == [(300, 12), (300, 300), (1, 300)]
    assert (agent.gamma, agent.tau, agent.batch_size, agent.buffer_size) == (1.0, 0.01, 64, 2000)


def test_the_actor_is_a_sigmoid_between_min_keep_and_one() -> None:
    agent = make_agent(AMC(), make_env())
    last = agent.actor.mu[-2]
    observation = np.zeros((1, 11), np.float32)
    for logit in (-50.0, -1.0, 0.0, 2.0, 50.0):
        with torch.no_grad():
            last.weight.zero_()
            last.bias.fill_(logit)
        keep, _ = agent.predict(observation)
        assert keep.item() == pytest.approx(0.2 + 0.8 / (1 + np.exp(-logit)), abs=1e-6)


def weights_after(policy: AMC) -> torch.Tensor:
    env = make_env()
    agent = make_agent(policy, env)
    agent.learn(EPISODES * len(env.problem.engine.layers))
    return torch.cat([weight.detach().ravel() for weight in agent.policy.parameters()])


def test_imitation_of_no_weight_is_stable_baselines3s_own_update() -> None:
    """Seven episodes of updates, by the library and by the agent's own loop."""
    theirs, ours = (weights_after(AMC(start="random", gamma=0.9, imitation=weight)) for weight in (0.0, 1e-30))
    torch.testing.assert_close(theirs, ours)


def test_with_imitation_alone_the_actor_plays_the_best_episode() -> None:
    env = make_env()
    agent = make_agent(AMC(start="random", warm_up=1.0, imitation=1e6, elites=1), env)
    agent.learn(EPISODES * len(env.problem.engine.layers))
    agent.fit_actor(400)
    wanted = max(env.trials, key=lambda trial: trial.reward).strategy
    seen = env.problem.observations(wanted)[:-1]
    played = [agent.predict(observation)[0].item() for observation in seen]
    np.testing.assert_allclose(played, wanted, atol=0.03)


def test_the_reconstruction_start_is_least_error_first_and_the_actor_stays_near() -> None:
    env = RecordTrials(PruningEnv(AnalyticEngine()), 8)
    AMC(planning=False, start="reconstruction", warm_up=0.25, sigma=0.021).search(env)
    first = LeastError(env.problem.budget).strategy()
    assert env.trials[0].strategy == first
    assert env.trials[1].strategy != first
    assert len(env.trials) == 8
    for trial in env.trials[2:]:
        assert np.abs(np.subtract(trial.strategy, first)).mean() < 0.15


@pytest.mark.parametrize("constraint", ["bound", "rescale"])
@pytest.mark.parametrize("planning", [True, False])
def test_a_reconstruction_start_follows_from_its_seed(constraint: str, planning: bool) -> None:
    played = []
    for seed in (1, 1, 2):
        env = make_env(constraint)
        AMC(seed=seed, start="reconstruction", planning=planning).search(env)
        played.append([trial.strategy for trial in env.trials])
        torch.rand(1)
    assert played[0] == played[1]
    assert played[0][0] == played[2][0]
    assert played[0][1:] != played[2][1:]


def test_a_reconstruction_start_needs_an_engine_that_knows_its_error() -> None:
    class Ignorant:
        layers, cost, evaluate = AnalyticEngine().layers, AnalyticEngine().cost, AnalyticEngine().evaluate

    env = RecordTrials(PruningEnv(Ignorant()), 2)
    with pytest.raises(ValueError, match="Ignorant does not know its reconstruction error"):
        AMC(start="reconstruction").search(env)
    assert env.trials == []


def test_one_update_a_step_after_the_warm_up_at_two_learning_rates() -> None:
    env = make_env()
    steps = len(env.problem.engine.layers)
    agent = make_agent(AMC(start="random", warm_up=0.25, actor_lr=1e-4), env)
    agent.learn(EPISODES * steps)
    assert updates(agent.actor.optimizer) == updates(agent.critic.optimizer) == (EPISODES - 2) * steps
    assert agent.actor.optimizer.param_groups[0]["lr"] == 1e-4
    assert agent.critic.optimizer.param_groups[0]["lr"] == 1e-3


@pytest.mark.parametrize("constraint", ["bound", "rescale"])
def test_the_replay_holds_what_was_executed(constraint: str) -> None:
    env = make_env(constraint)
    steps = len(env.problem.engine.layers)
    agent = make_agent(AMC(), env)
    agent.learn(EPISODES * steps)
    replay = agent.replay_buffer
    assert replay is not None
    for trial in env.trials:
        rows = slice(trial.index * steps, (trial.index + 1) * steps)
        np.testing.assert_allclose((replay.actions[rows, 0, 0] + 1) / 2 * 0.8 + 0.2, trial.strategy, atol=1e-6)
        np.testing.assert_allclose(replay.rewards[rows, 0], trial.reward, rtol=1e-6)
        np.testing.assert_array_equal(replay.next_observations[rows, 0], env.problem.observations(trial.strategy)[1:])


class Watching(AnalyticEngine):
    """Notes how many threads an evaluation may use."""

    threads: set[int] = set()  # noqa: RUF012

    def evaluate(self, strategy: Strategy) -> Evaluation:
        self.threads.add(torch.get_num_threads())
        return super().evaluate(strategy)


@pytest.mark.parametrize("planning", [True, False])
def test_the_engine_keeps_its_threads(planning: bool) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        AMC(planning=planning).search(make_env(engine=Watching()))
        assert torch.get_num_threads() == 2
        assert Watching.threads == {2}
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("planning", [True, False])
def test_a_search_leaves_no_files(planning: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    AMC(planning=planning).search(make_env())
    assert not list(tmp_path.iterdir())


def test_a_planning_search_of_one_episode_plays_what_promises_most() -> None:
    env = RecordTrials(PruningEnv(AnalyticEngine(), target=0.3), 1)
    AMC().search(env)
    assert env.trials[0].strategy == LeastError(env.problem.budget, compounded=True).strategy()


def test_exploration_narrows_to_its_end_within_the_budget() -> None:
    env = RecordTrials(PruningEnv(AnalyticEngine()), 200)
    exploration = make_agent(AMC(start="random", warm_up=0.25, sigma=0.5, sigma_end=0.02), env).exploration
    assert exploration.warm_up == 50
    assert exploration.sigma_at(50) == 0.5
    assert exploration.sigma_at(199) == pytest.approx(0.02)


@pytest.mark.parametrize(
    "values",
    [
        {"warm_up": 1.5},
        {"warm_up": -0.1},
        {"sigma_end": 0.0},
        {"sigma_end": 0.6},
        {"start": "warm"},
        {"imitation": -1.0},
        {"elites": 0},
    ],
)
def test_values_out_of_range_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(values))):
        AMC(**values)


def test_a_known_start_plays_what_is_known_then_the_local_search_and_then_near_the_best_of_it() -> None:
    episodes, warm_up = 24, 16
    env = RecordTrials(PruningEnv(AnalyticEngine()), episodes)
    AMC(planning=False, start="known", local_search=warm_up / episodes, sigma=0.021, seed=3).search(env)
    known = list(known_strategies(env.problem).values())
    played = [trial.strategy for trial in env.trials]
    assert played[: len(known)] == [played[0], *known[1:]]
    assert np.abs(np.subtract(played[0], known[0])).max() < 0.1  # filled up to the limit
    # The policy that is nothing but the local search plays the same; it begins with least error, which is known here.
    alone = RecordTrials(PruningEnv(AnalyticEngine()), warm_up - len(known) + 1)
    Reconstruction(seed=3).search(alone)
    assert played[len(known) : warm_up] == [trial.strategy for trial in alone.trials[1:]]
    best = max(env.trials[:warm_up], key=quality).strategy
    for strategy in played[warm_up:]:
        assert np.abs(np.subtract(strategy, best)).mean() < 0.2


def test_a_known_start_is_played_whatever_the_warm_up() -> None:
    env = RecordTrials(PruningEnv(AnalyticEngine()), 3)
    AMC(start="known", warm_up=0.0, local_search=0.0).search(env)
    assert env.trials[2].strategy == LeastError(env.problem.budget).strategy()


@pytest.mark.parametrize("start", ["random", "reconstruction", "known"])
def test_a_budget_of_one_episode_is_enough(start: str) -> None:
    env = RecordTrials(PruningEnv(AnalyticEngine()), 1)
    AMC(start=start).search(env)
    assert len(env.trials) == 1
