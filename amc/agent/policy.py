"""AMC's search: a DDPG agent that walks through the network, layer by layer, episode by episode."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy as np

from amc.agent.ddpg import AMCDDPG, LearningRates, SigmoidPolicy
from amc.agent.exploration import SPREADS, check_narrowing, narrowing
from amc.agent.imitation import Imitation
from amc.agent.off_policy import FRACTION, RATES, Learning, agent_settings, learn
from amc.agent.planning import OBSERVATIONS, PlanningAgent, play_planned
from amc.agent.replay import EpisodeReturnBuffer
from baselines.known_strategies import known_strategies, most_promising_first
from baselines.least_error import NEEDS, LeastError
from baselines.reconstruction import strategies_nearby
from envs.engine.fields import Interval, OneOf, setting
from envs.engine.settings import AHEAD
from envs.engine.types import KnowsReconstructionError, Strategy
from envs.search import RecordTrials, play_strategy
from envs.workers.settings import EACH

SIGMAS = {"random": 0.3, "reconstruction": 0.1, "known": 0.1}
"""How an agent may start, and how far it explores then if it is not told: around a good strategy, less."""
SPREAD = 0.5
"""Standard deviation of the logarithms of the layers' weights in the episodes that a reconstruction start plays."""
NEAR = 0.2
"""Standard deviation of the logarithms of the layers' ratios around the best known strategy."""
MOST_TO_BUSY = 0.125
"""Fraction of the episodes that the warm-up may take to give every worker something to do."""
PLANS = 1
"""Tells the random numbers of planning from those of the warm-up."""
FIT_UPDATES = 300
"""Updates that fit the actor to those episodes before it plays."""


@dataclass(frozen=True)
class AMC(Learning):
    """An agent that plans, and the paper's agent, from which every departure can be taken back.

    With ``planning`` a critic learns from every episode what a whole strategy brings; the rules of the game are known,
    so the agent looks for the strategy that promises most and plays it. See ``amc.agent.planning`` and
    ``benchmarks/agent.md``, which has the figures. All fields from ``sigma`` on are of no meaning then.

    Without it, the paper's agent learns. The paper's own is :class:`PaperAMC`, ``policy=amc_paper``. On networks in
    closed form it finds in 150 episodes what random ratios find: what one step adds to an episode's reward drowns in
    what the other steps do, and neither ``gamma=0`` nor a faster actor changes that. Imitating the best episodes does.
    The other values were chosen with it, and a random start, on two networks and seeds that
    ``benchmarks.analytic_policies`` does not use. There the share of the gap that is closed rose from 0.71 to 0.92 with
    ``rescale``, from 0.05 to 0.64 with ``bound``.

    Attributes:
        planning: play what a critic of whole strategies promises, instead of what an actor says.
        observation: what the critic sees of a strategy: ``informed``: what every layer loses at what it keeps, as the
            engine foresees it (the square of what goes, where the engine does not), the same compounded, and the sums
            of both; ``paper``: how much of every layer goes, and the sum.
        bonus: what an unknown strategy is worth more, at most, in standard deviations of what it may bring. Every
            episode draws its own between 0 and this.
        start: how the warm-up is played: ``random`` by uniformly random actions; ``reconstruction`` by the strategy
            of least reconstruction error and others with changed weights on the layers, see
            ``baselines.reconstruction``; ``known`` by what is known before the first evaluation, see
            ``baselines.known_strategies``, and by the local search around least error, see
            ``baselines.reconstruction``, or where no errors are known by strategies near the best. To the best of these
            episodes the actor is fitted before it plays.
        at_once: with planning, strategies that are asked for before the first of them is known, so that workers have
            something to do; null for two a worker, 1 without any. Trials depend on it, and the warm-up gives every
            worker one where that takes no more than an eighth of the episodes. Without planning, an episode begins
            when the one before has ended.
        local_search: without planning, fraction of the episodes that ``known`` spends so where errors are known, if
            that is more than ``warm_up``. After 25 episodes on networks in closed form whose errors were distorted
            0.93 of the gap to the optimum was closed with 0.5, and 0.88 with 0.1 (means of three seeds).
        warm_up: fraction of the episodes that is spent so; with ``reconstruction`` at least one episode, with
            ``known`` at least those. 0.05 did as well as 0.1; 0.25 left less to learn in.
        sigma: standard deviation of the exploration after the warm-up; ``None`` for 0.3, or 0.1 where the actor was
            fitted. 0.2 did as well as 0.3.
        sigma_end: standard deviation of the last episode, reached by the same factor from one to the next. The
            released code's factor, 0.95, is made for 800 episodes: in a smaller budget it leaves the agent with its
            first guess.
        gamma: discount. Every step carries the episode's reward, so with 0 the critic predicts it from one step and
            needs no bootstrapping. With the paper's 1 it learns the reward times the steps left, so imitation needs
            ten times the weight, and did a little worse.
        actor_lr: Adam's learning rate of the actor.
        critic_lr: Adam's learning rate of the critic.
        imitation: weight in the actor's loss of the squared difference to the best episodes; 0 for DDPG. From 1 to
            30 more was better, 100 did as 30, and an actor that does not follow the critic at all did no worse.
        elites: how many episodes are the best. 2 and 8 did worse than 4.

    Raises:
        ValueError: a value is out of range.

    References:
        He et al., 2018, "AMC: AutoML for Model Compression and Acceleration on Mobile Devices", arXiv 1802.03494.
    """

    planning: bool = True
    observation: str = setting("informed", OneOf(tuple(OBSERVATIONS)))
    bonus: float = setting(3.0, Interval(0, 100))
    at_once: int | None = setting(None, AHEAD)
    start: str = setting("known", OneOf(tuple(SIGMAS)))
    local_search: float = setting(0.5, FRACTION)
    warm_up: float = setting(0.05, FRACTION)
    sigma: float | None = setting(None, SPREADS)
    sigma_end: float = setting(0.02, SPREADS)
    gamma: float = setting(0.0, FRACTION)
    actor_lr: float = setting(1e-3, RATES)
    critic_lr: float = setting(1e-3, RATES)
    imitation: float = setting(100.0, Interval(0, 10**6))
    elites: int = setting(4, Interval(1, 10**6))

    def __post_init__(self) -> None:
        super().__post_init__()
        check_narrowing(self.first_sigma, self.sigma_end)

    @property
    def needs(self) -> Mapping[str, object]:
        """The settings that it can play with: all, but for a start from the reconstruction error."""
        return NEEDS if self.start == "reconstruction" else {}

    @property
    def first_sigma(self) -> float:
        """Standard deviation of the exploration in the first episode after the warm-up."""
        return SIGMAS[self.start] if self.sigma is None else self.sigma

    def search(self, env: RecordTrials) -> None:
        """Learn until no episode is left, at the end of each episode.

        Raises:
            ValueError: the start needs an engine that knows its reconstruction error.
        """
        if self.planning:
            ahead = self.at_once or env.problem.ahead
            for _ in env.play_ahead(self._first_strategies(env, self._busy(ahead, env)), ahead):
                pass
            rng = np.random.default_rng((self.seed, PLANS))
            play_planned(env, PlanningAgent(env.problem.budget, self.observation, self.bonus, rng), ahead)
        else:
            self._act(env)

    def _busy(self, ahead: int, env: RecordTrials) -> int:
        """Return how many first strategies have no worker wait for the others' end, if there are episodes for that."""
        return min(ahead // EACH, round(MOST_TO_BUSY * env.remaining))

    def _act(self, env: RecordTrials) -> None:
        """Let the actor play: one update a step."""
        agent = self.make_agent(env)
        if self.start != "random":
            for strategy in islice(self._first_strategies(env), env.remaining):
                trial = play_strategy(env, strategy)
                assert isinstance(agent.replay_buffer, EpisodeReturnBuffer)  # noqa: S101  the settings ask for it
                agent.replay_buffer.add_episode(trial.strategy, trial.reward)
            agent.fit_actor(FIT_UPDATES)
        learn(agent, env)

    def make_agent(self, env: RecordTrials) -> AMCDDPG:
        """Return the agent that plays the episodes left in ``env``; it has learnt nothing yet."""
        rng = np.random.default_rng(self.seed)
        warm_up = self._episodes_before_it_plays(env)
        narrowed = narrowing(self.first_sigma, self.sigma_end, warm_up, env.remaining)
        return AMCDDPG(
            SigmoidPolicy,
            **self._settings(env, rng),
            learning_rates=LearningRates(self.actor_lr, self.critic_lr),
            imitation=Imitation(env, self.imitation, self.elites),
            exploration=narrowed if self.start == "random" else replace(narrowed, warm_up=0),
            rng=rng,
        )

    def _episodes_before_it_plays(self, env: RecordTrials) -> int:
        # A planner looks around the best by itself.
        knows = self.start == "known" and isinstance(env.problem.engine, KnowsReconstructionError)
        searches = knows and not self.planning
        return max(self.warm_up_episodes(env.remaining), round(self.local_search * env.remaining) if searches else 0)

    def _settings(self, env: RecordTrials, rng: np.random.Generator) -> dict[str, Any]:
        settings = agent_settings(self, env, rng)
        if self.start != "random":
            settings["learning_starts"] = 0
        return settings

    def _first_strategies(self, env: RecordTrials, fewest: int = 0) -> Iterator[Strategy]:
        """Yield what the warm-up plays; which of it was best is known by the time the next is asked for."""
        rng = np.random.default_rng(self.seed)
        layers = len(env.problem.engine.layers)
        count = max(self._episodes_before_it_plays(env), fewest)
        if self.start == "random":
            for _ in range(max(count, 1)):
                yield tuple(rng.uniform(env.problem.budget.min_keep, 1, layers).tolist())
            return
        if self.start == "reconstruction":
            least = LeastError(env.problem.budget)
            yield least.strategy()
            for _ in range(count - 1):
                yield least.strategy(np.exp(SPREAD * rng.standard_normal(layers)))
            return
        known = known_strategies(env.problem)
        first = most_promising_first(known) if self.planning else list(known.values())
        yield from first
        if isinstance(env.problem.engine, KnowsReconstructionError) and not self.planning:
            yield from islice(strategies_nearby(env, rng), max(0, count - len(known)))
            return
        for _ in range(count - len(known)):
            # With workers none of the first may be known yet.
            best = env.best.strategy if env.trials else first[0]
            near = np.array(best) * np.exp(NEAR * rng.standard_normal(layers))
            yield tuple(near.clip(env.problem.budget.min_keep, 1).tolist())


@dataclass(frozen=True)
class PaperAMC(AMC):
    """The agent of the paper: its fields are those of ``AMC``, their defaults the paper's but for two.

    Rewards are normalized, and the exploration narrows within the episodes that there are.
    """

    planning: bool = False
    start: str = setting("random", OneOf(tuple(SIGMAS)))
    local_search: float = setting(0.0, FRACTION)
    warm_up: float = setting(0.25, FRACTION)
    sigma: float | None = setting(0.5, SPREADS)
    gamma: float = setting(1.0, FRACTION)
    actor_lr: float = setting(1e-4, RATES)
    imitation: float = setting(0.0, Interval(0, 10**6))
