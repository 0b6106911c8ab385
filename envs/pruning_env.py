"""Pruning a network layer by layer as a Markov decision process."""

import math
from collections.abc import Iterator, Mapping, Sequence
from time import perf_counter
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from envs.constraint import CONSTRAINTS, ResourceBudget
from envs.engine.plugins import find, is_own
from envs.engine.types import EvaluatesAhead, EvaluatesMany, Evaluation, PruningEngine, RewardFn, Strategy
from envs.observation import FEATURES, Observer
from envs.rendering import Pixels, as_image, as_text
from envs.rewards import REWARDS
from envs.workers.ahead import evaluate_ahead, evaluate_all


class PruningEnv(gym.Env[NDArray[np.float32], NDArray[np.float32]]):
    """Choose how much of each layer to keep, from the first layer to the last.

    ## Action space
    A ``Box(0, 1, (1,))``: the keep ratio wanted for the next layer. Ratios below ``min_keep`` count as ``min_keep``.
    A residual block stays from a ratio of 0.5 on, and goes below.
    What is executed is an allowed number of channels, so it differs by rounding and by the constraint.

    | constraint | executed ratio |
    |------------|----------------|
    | `bound`    | at each step at most what lets the later layers, at their minimum, meet the target (Algorithm 1) |
    | `rescale`  | after the last step all ratios are multiplied by one factor, up or down, until the target is met |

    ## Observation space
    A ``Box(0, 1, (11,))``, the state of the paper. Features 0 to 7 describe the next layer, scaled over the layers
    by (x - min) / (max - min).

    | index | name     | meaning |
    |-------|----------|---------|
    | 0     | t        | index of the layer |
    | 1     | n        | output channels |
    | 2     | c        | input channels |
    | 3, 4  | h, w     | size of the layer's input |
    | 5     | stride   | stride |
    | 6     | k        | kernel size; 0 for a residual block |
    | 7     | flops    | multiply-accumulates of the dense layer |
    | 8     | reduced  | fraction of the network's FLOPs saved so far |
    | 9     | rest     | fraction of the layers' FLOPs that lies in later layers |
    | 10    | previous | ratio executed at the previous step, 1 at the first |

    With `rescale` features 8 and 10 show the ratios before the factor, as it is not known yet;
    ``observations(info["strategy"])`` gives the episode as if its outcome had been played.

    ## Rewards
    0 until the last layer, then ``reward(evaluation, cost)`` of the pruned network.

    ## Episode
    Starts before the first layer and is terminated after the last. Nothing is random: ``seed`` changes nothing.

    ## Information
    | key        | when     | value |
    |------------|----------|-------|
    | keep       | step     | ratio after rounding; with `bound` it is final |
    | strategy   | last     | executed keep ratio of every layer |
    | evaluation | last     | ``Evaluation`` of the pruned network |
    | cost       | last     | ``Cost`` of the pruned network |
    | feasible   | last     | whether the cost is within the target |

    Args:
        engine: the network to prune.
        reward: a key of ``REWARDS``, a function of evaluation and cost, or its dotted path.
        resource: what is limited: a field of ``Cost`` that the engine fills in, or the path of a function of a cost.
        target: fraction of the dense network's resource that may be kept.
        min_keep: fraction of its units that every layer keeps at least.
        units: for every layer the units that ``min_keep`` is a fraction of, see ``ResourceBudget``.
        limits: targets of further resources, by resource.
        constraint: a key of ``CONSTRAINTS``.
        render_mode: ``ansi`` for text or ``rgb_array`` for a picture of what every layer keeps so far.

    Raises:
        TargetError: the target cannot be met.
        ValueError: an argument is unknown or out of range.

    References:
        He et al., 2018, "AMC: AutoML for Model Compression and Acceleration on Mobile Devices", arXiv 1802.03494.
    """

    metadata: dict[str, Any] = {"render_modes": ["ansi", "rgb_array"], "render_fps": 4}  # noqa: RUF012  typed so by gymnasium

    def __init__(
        self,
        engine: PruningEngine,
        *,
        reward: str | RewardFn = "accuracy",
        resource: str = "flops",
        target: float = 0.5,
        min_keep: float = 0.1,
        units: tuple[int, ...] | None = None,
        limits: Mapping[str, float] | None = None,
        constraint: str = "rescale",
        render_mode: str | None = None,
    ) -> None:
        if isinstance(reward, str) and reward not in REWARDS and not is_own("rewards", reward):
            raise ValueError(f"reward={reward!r}: must be a function or one of {', '.join(REWARDS)}")
        if constraint not in CONSTRAINTS:
            raise ValueError(f"constraint={constraint!r}: must be one of {', '.join(CONSTRAINTS)}")
        if not engine.layers:
            raise ValueError("the engine has no layer to prune")
        self.render_mode = self.checked_render_mode(render_mode)
        self.engine = engine
        self.budget = ResourceBudget(engine, resource, target, min_keep, units, limits or {})
        self.engine_seconds = self.waited = 0.0
        self.observation_space = spaces.Box(0.0, 1.0, (len(FEATURES),), np.float32)
        self.action_space = spaces.Box(0.0, 1.0, (1,), np.float32)
        self._reward = find("rewards", reward, REWARDS) if isinstance(reward, str) else reward
        self.constraint = constraint
        self._constraint = CONSTRAINTS[constraint]
        self._observe = Observer(engine)
        self._ratios: Strategy = (1.0,) * len(engine.layers)
        self._executed: Strategy = ()

    @classmethod
    def checked_render_mode(cls, mode: str | None) -> str | None:
        """Return a render mode that there is.

        Raises:
            ValueError: there is none of that name.
        """
        if mode not in (None, *cls.metadata["render_modes"]):
            raise ValueError(f"render_mode={mode!r}: must be one of {', '.join(cls.metadata['render_modes'])}")
        return mode

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Start an episode at the first layer."""
        super().reset(seed=seed, options=options)
        self._ratios = self._executed = ()
        return self._observe(()), {}

    def step(self, action: NDArray[np.float32]) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Execute a keep ratio for the next layer; after the last layer, score the strategy.

        Raises:
            ResetNeeded: the episode is over.
            ValueError: the action or the reward is not a finite number.
        """
        step = len(self._ratios)
        if step == len(self.engine.layers):
            raise gym.error.ResetNeeded("the last layer is done: call reset() first")
        self._ratios += (self._constraint.step(self.budget, self._ratios, _keep_ratio(action)),)
        executed = tuple(map(self.budget.execute, range(step + 1), self._ratios))
        self._executed = executed
        info: dict[str, Any] = {"keep": executed[-1]}
        if step + 1 < len(self.engine.layers):
            return self._observe(executed), 0.0, False, False, info
        self._executed = self._constraint.finish(self.budget, self._ratios)
        reward, outcome = self.score(self._executed)
        return self._observe(executed), reward, True, False, info | outcome

    def render(self) -> str | Pixels | None:
        """Return the layers so far, as text or a picture; with ``rescale`` the last step's are times the factor."""
        if self.render_mode is None:
            return None
        layers, executed = self.engine.layers, self._executed
        return as_text(layers, executed) if self.render_mode == "ansi" else as_image(layers, executed)

    def observations(self, strategy: Strategy) -> NDArray[np.float32]:
        """Return the observations of the episode that executes ``strategy``: the first, and one after each step."""
        return np.stack([self._observe(strategy[:step]) for step in range(len(strategy) + 1)])

    def execute(self, wanted: Strategy) -> Strategy:
        """Return the strategy that an episode with these actions comes to. The running episode is left alone.

        Raises:
            ValueError: there is not one finite ratio for every layer.
        """
        if len(wanted) != len(self.engine.layers):
            raise ValueError(f"strategy {wanted}: needs {len(self.engine.layers)} keep ratios")
        ratios: Strategy = ()
        for keep in wanted:
            ratios += (self._constraint.step(self.budget, ratios, _keep_ratio(np.float32(keep))),)
        return self._constraint.finish(self.budget, ratios)

    @property
    def at_once(self) -> int:
        """How many strategies are worth scoring together, see ``EvaluatesMany``."""
        return self.engine.at_once if isinstance(self.engine, EvaluatesMany) else 1

    @property
    def ahead(self) -> int:
        """How many proposals a policy should make before it knows the first one's reward, see ``EvaluatesAhead``."""
        return self.engine.ahead if isinstance(self.engine, EvaluatesAhead) else 1

    def score(self, strategy: Strategy) -> tuple[float, dict[str, Any]]:
        """Evaluate a strategy as it is, beyond the target or not: the reward and information of a last step.

        Args:
            strategy: executable ratios. The running episode is left alone.

        Raises:
            ValueError: the reward is not a finite number.
        """
        return self.score_many([strategy])[0]

    def score_many(self, strategies: Sequence[Strategy]) -> list[tuple[float, dict[str, Any]]]:
        """Do as ``score`` for several strategies, side by side where the engine can; ``engine_seconds`` are shared."""
        start = perf_counter()
        evaluations = evaluate_all(self.engine, list(strategies))
        self.engine_seconds = (perf_counter() - start) / max(1, len(strategies))
        return [self._outcome(*scored) for scored in zip(strategies, evaluations, strict=True)]

    def score_ahead(self, strategies: Iterator[Strategy], ahead: int) -> Iterator[tuple[float, dict[str, Any]]]:
        """Do as ``score`` for one after the other, of which up to ``ahead`` are asked for before the first is known.

        ``engine_seconds`` and ``waited`` are of the last: its part of the time spent on scoring, and what it took here.
        """
        for scored in evaluate_ahead(self.engine, strategies, ahead):
            self.waited, self.engine_seconds = scored.waited, scored.seconds
            yield self._outcome(scored.strategy, scored.evaluation)

    def _outcome(self, strategy: Strategy, evaluation: Evaluation) -> tuple[float, dict[str, Any]]:
        cost = self.engine.cost(strategy)
        reward = float(self._reward(evaluation, cost))
        if not math.isfinite(reward):
            raise ValueError(f"the reward is {reward} for {evaluation} and {cost}: no policy can learn from it")
        feasible = self.budget.fits(strategy)
        return reward, {"strategy": strategy, "evaluation": evaluation, "cost": cost, "feasible": feasible}


def _keep_ratio(action: NDArray[np.float32] | np.float32) -> float:
    """Return the ratio in an action, clipped to [0, 1]."""
    keep = float(np.asarray(action).item())
    if not math.isfinite(keep):
        raise ValueError(f"action={keep}: the keep ratio must be a finite number")
    return min(max(keep, 0.0), 1.0)
