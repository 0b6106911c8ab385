"""What searching means: one scored strategy is one trial, and every policy gets the same number of them."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from time import perf_counter
from typing import Any, Protocol, SupportsFloat

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from envs.engine.types import Strategy
from envs.pruning_env import PruningEnv
from envs.trial import Sink as Sink
from envs.trial import Trial as Trial
from envs.trial import best_trial as best_trial
from envs.trial import better as better
from envs.trial import quality as quality

Observation = NDArray[np.float32]
Action = NDArray[np.float32]

MOST_EPISODES = 10**6
"""More than that no search ends."""


class EpisodesExhausted(Exception):
    """A policy asked for more episodes than it has."""


class NothingPlayed(ValueError):
    """A policy ended its search without a trial."""


class RecordTrials(gym.Wrapper[Observation, Action, Observation, Action]):
    """The referee: counts scored strategies, records each as a trial, and refuses more than ``episodes``.

    A repeated strategy counts again. ``reset`` is free at any time; the first step beyond ``episodes`` raises.

    Args:
        env: a ``PruningEnv``, wrapped or not.
        episodes: strategies that may be scored.
        sinks: called with each trial, in order.

    Attributes:
        problem: the ``PruningEnv`` inside.
        trials: the trials so far.

    Raises:
        ValueError: ``episodes`` is not positive, or endless.
        TypeError: no ``PruningEnv`` is inside ``env``.
    """

    def __init__(self, env: gym.Env[Observation, Action], episodes: int, sinks: Sequence[Sink] = ()) -> None:
        if not 1 <= episodes <= MOST_EPISODES:
            raise ValueError(f"episodes={episodes}: a search needs at least one, and at most {MOST_EPISODES}")
        if not isinstance(env.unwrapped, PruningEnv):
            raise TypeError(f"{env.unwrapped} is not a PruningEnv")
        super().__init__(env)
        self.problem: PruningEnv = env.unwrapped
        self.trials: list[Trial] = []
        self._episodes = episodes
        self._sinks = tuple(sinks)
        self._last_end = perf_counter()

    @property
    def remaining(self) -> int:
        """Episodes left."""
        return self._episodes - len(self.trials)

    @property
    def best(self) -> Trial:
        """The feasible trial of highest reward; among equals the lowest loss, then the earliest.

        Raises:
            ValueError: there is no feasible trial.
        """
        return best_trial(self.trials)

    def step(self, action: Action) -> tuple[Observation, SupportsFloat, bool, bool, dict[str, Any]]:
        """Step the environment; record a trial if the episode ends.

        Raises:
            EpisodesExhausted: no episode is left.
        """
        self._check_episodes()
        observation, reward, terminated, truncated, info = super().step(action)
        if terminated:
            self._record(float(reward), info)
        return observation, reward, terminated, truncated, info

    def score_strategy(self, strategy: Strategy) -> Trial:
        """Score a strategy as it is, beyond the target or not, and record it; that costs an episode like any other.

        For policies that look at a layer by itself. The constraint is left out, and a running episode goes on as if
        nothing had happened. A trial beyond the target is not feasible, so that it is never the best.

        Args:
            strategy: one ratio a layer, rounded and kept above ``min_keep`` as a step does.

        Raises:
            EpisodesExhausted: no episode is left.
            ValueError: there is not one ratio for every layer.
        """
        return self.score_strategies([strategy])[0]

    def score_strategies(self, strategies: Sequence[Strategy]) -> list[Trial]:
        """Do as ``score_strategy`` for several, side by side where the engine can."""
        return self._score(list(map(self._rounded, strategies)))

    def _rounded(self, strategy: Strategy) -> Strategy:
        layers = len(self.problem.engine.layers)
        if len(strategy) != layers:
            raise ValueError(f"strategy {strategy}: needs {layers} keep ratios")
        return tuple(map(self.problem.budget.execute, range(layers), strategy))

    def play_strategies(self, strategies: Sequence[Strategy]) -> list[Trial]:
        """Record the trials of episodes that want these ratios, scored side by side where the engine can.

        They are those of ``play_strategy``, one after the other; a running episode goes on as if nothing had happened.
        ``problem.at_once`` says how many are worth handing over together.

        Raises:
            EpisodesExhausted: fewer episodes are left; none is played.
            ValueError: there is not one ratio for every layer.
        """
        if self.env is not self.problem:  # a wrapper between may change actions or rewards
            return [play_strategy(self, strategy) for strategy in strategies]
        return self._score([self.problem.execute(strategy) for strategy in strategies])

    def play_ahead(self, wanted: Iterable[Strategy], ahead: int) -> Iterator[Trial]:
        """Play episodes that want these ratios, and yield their trials one after the other.

        Args:
            wanted: taken as late as ``ahead`` allows, and no more than there are episodes left.
            ahead: how many are taken before the trial of the first is yielded: ``problem.ahead`` where the next
                depend on what came of those before, ``problem.at_once`` where they do not.
        """
        if self.env is not self.problem:  # a wrapper between may change actions or rewards
            return (play_strategy(self, strategy) for strategy in islice(wanted, self.remaining))
        return self._score_ahead(map(self.problem.execute, wanted), ahead)

    def score_ahead(self, strategies: Iterable[Strategy], ahead: int) -> Iterator[Trial]:
        """Do as ``play_ahead``, but score every strategy as ``score_strategy`` does, as it is."""
        return self._score_ahead(map(self._rounded, strategies), ahead)

    def _score_ahead(self, strategies: Iterator[Strategy], ahead: int) -> Iterator[Trial]:
        for reward, info in self.problem.score_ahead(islice(strategies, self.remaining), ahead):
            passed = perf_counter() - self._last_end
            yield self._record(reward, info, seconds=passed - self.problem.waited + self.problem.engine_seconds)

    def _score(self, strategies: Sequence[Strategy]) -> list[Trial]:
        self._check_episodes(len(strategies))
        outcomes = self.problem.score_many(strategies)
        each = (perf_counter() - self._last_end) / max(1, len(strategies))
        return [self._record(*outcome, seconds=each) for outcome in outcomes]

    def _check_episodes(self, wanted: int = 1) -> None:
        if self.remaining < wanted:
            raise EpisodesExhausted(f"all {self._episodes} episodes are used")

    def _record(self, reward: float, info: dict[str, Any], seconds: float | None = None) -> Trial:
        """Append the trial that ended, hand it to the sinks, and return it; ``seconds`` are its part of several."""
        now = perf_counter()
        trial = Trial(
            index=len(self.trials),
            strategy=info["strategy"],
            reward=reward,
            evaluation=info["evaluation"],
            cost=info["cost"],
            feasible=info["feasible"],
            seconds=now - self._last_end if seconds is None else seconds,
            engine_seconds=self.problem.engine_seconds,
        )
        self._last_end = now
        self.trials.append(trial)
        for sink in self._sinks:
            sink(trial)
        return trial


class SearchPolicy(Protocol):
    """Finds a good strategy by playing episodes. It owns its loop; the environment is the referee."""

    @property
    def needs(self) -> Mapping[str, object]:
        """The settings that it must find, such as ``{"granularity": "channel"}``; empty if it plays every problem.

        A tuple of values means any of them. They are asked for before any work is done.
        """

    def search(self, env: RecordTrials) -> None:
        """Play episodes until none is left, or fewer."""


def unmet_need(policy: SearchPolicy, settings: Mapping[str, object]) -> str:
    """Return the first setting that a policy cannot play with and what it needs instead, or nothing.

    Args:
        policy: of this package, or anyone's own, which may leave ``needs`` out.
        settings: what the problem is posed with, by name.
    """
    needs: Mapping[str, object] = getattr(policy, "needs", {})
    for name, needed in needs.items():
        values = needed if isinstance(needed, tuple) else (needed,)
        if settings[name] not in values:
            wanted = " or ".join(map(_shown, values))
            return f"{name}={_shown(settings[name])}: {type(policy).__name__} needs {name}={wanted}"
    return ""


def _shown(setting: object) -> str:
    return str(setting).lower() if isinstance(setting, bool) else str(setting)


def run_episode(env: RecordTrials, choose: Callable[[Observation], float]) -> Trial:
    """Play one episode, asking ``choose`` for the keep ratio of each layer, and return its trial."""
    observation, _ = env.reset()
    terminated = False
    while not terminated:
        action = np.array([choose(observation)], dtype=np.float32)
        observation, _, terminated, _, _ = env.step(action)
    return env.trials[-1]


def play_strategy(env: RecordTrials, strategy: Strategy) -> Trial:
    """Play an episode that wants the ratios of ``strategy``, and return its trial."""
    wanted = iter(strategy)
    return run_episode(env, lambda _: next(wanted))


def play(policy: SearchPolicy, env: RecordTrials) -> None:
    """Let a policy search. One that asks for more episodes than there are has come to its end.

    Raises:
        NothingPlayed: it has not played any to its end.
    """
    with suppress(EpisodesExhausted):
        policy.search(env)
    if not env.trials:
        raise NothingPlayed(f"{type(policy).__name__}.search(env) returned without having played an episode to its end")
