"""TD3 and SAC on AMC's game."""

import numpy as np
import pytest
import torch

from amc.agent.sac import SACSearch
from amc.agent.td3 import TD3Search
from envs.engine.analytic import AnalyticEngine
from envs.engine.types import Evaluation, Strategy
from envs.pruning_env import PruningEnv
from envs.search import RecordTrials

EPISODES = 8
AGENTS = [TD3Search, SACSearch]


def make_env(constraint: str = "rescale", engine: AnalyticEngine | None = None) -> RecordTrials:
    return RecordTrials(PruningEnv(engine or AnalyticEngine(), constraint=constraint, min_keep=0.2), EPISODES)


def updates(optimizer: torch.optim.Optimizer) -> int:
    """Return how many steps an optimizer has taken."""
    (steps,) = {int(state["step"]) for state in optimizer.state.values()}
    return steps


class Drawing(AnalyticEngine):
    """Uses random numbers of torch in every evaluation."""

    def evaluate(self, strategy: Strategy) -> Evaluation:
        torch.rand(3)
        return super().evaluate(strategy)


@pytest.mark.parametrize("policy", AGENTS)
def test_what_an_evaluation_draws_changes_no_weight(policy: type[TD3Search | SACSearch]) -> None:
    weights = []
    for engine in (AnalyticEngine(), Drawing()):
        env = make_env(engine=engine)
        agent = policy().make_agent(env)
        agent.learn(EPISODES * len(env.problem.engine.layers))
        weights.append(torch.cat([weight.detach().ravel() for weight in agent.policy.parameters()]))
    assert torch.equal(*weights)


@pytest.mark.parametrize("policy", AGENTS)
def test_two_critics_and_one_update_a_step_after_the_warm_up(policy: type[TD3Search | SACSearch]) -> None:
    env = make_env()
    steps = len(env.problem.engine.layers)
    agent = policy(warm_up=0.25).make_agent(env)
    assert len(agent.critic.q_networks) == 2
    agent.learn(EPISODES * steps)
    assert updates(agent.critic.optimizer) == (EPISODES - 2) * steps


@pytest.mark.parametrize("policy", AGENTS)
@pytest.mark.parametrize("constraint", ["bound", "rescale"])
def test_the_replay_holds_what_was_executed(policy: type[TD3Search | SACSearch], constraint: str) -> None:
    env = make_env(constraint)
    steps = len(env.problem.engine.layers)
    agent = policy().make_agent(env)
    agent.learn(EPISODES * steps)
    replay = agent.replay_buffer
    assert replay is not None
    strategies = np.array([trial.strategy for trial in env.trials]).ravel()
    rows = slice(0, EPISODES * steps)
    np.testing.assert_allclose((replay.actions[rows, 0, 0] + 1) / 2 * 0.8 + 0.2, strategies, atol=1e-6)
    rewards = np.repeat([trial.reward for trial in env.trials], steps)
    np.testing.assert_allclose(replay.rewards[rows, 0], rewards, rtol=1e-6)


def test_td3_delays_its_actor_and_smooths_its_target_as_told() -> None:
    agent = TD3Search(policy_delay=3, target_noise=0.1, target_clip=0.2).make_agent(make_env())
    assert (agent.policy_delay, agent.target_policy_noise, agent.target_noise_clip) == (3, 0.1, 0.2)


def test_sac_learns_the_worth_of_entropy_from_where_it_is_told() -> None:
    env = make_env()
    agent = SACSearch(entropy=0.1, target_entropy=-2.0).make_agent(env)
    assert agent.log_ent_coef is not None
    start = agent.log_ent_coef.exp().item()
    assert start == pytest.approx(0.1)
    assert agent.target_entropy == -2.0
    agent.learn(EPISODES * len(env.problem.engine.layers))
    assert agent.log_ent_coef.exp().item() != pytest.approx(0.1)


@pytest.mark.parametrize(
    ("policy", "values"),
    [
        (TD3Search, {"warm_up": 1.5}),
        (TD3Search, {"sigma_end": 0.6}),
        (SACSearch, {"warm_up": -0.1}),
        (SACSearch, {"entropy": 0.0}),
    ],
)
def test_values_out_of_range_are_refused(policy: type[TD3Search | SACSearch], values: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(values))):
        policy(**values)
