"""Optuna's samplers: black-box search that sees only a strategy and its reward."""

import warnings
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from baselines.known_strategies import known_strategies
from envs.engine.fields import OneOf, check_settings, setting
from envs.engine.settings import AHEAD, SEEDS
from envs.engine.types import Strategy
from envs.search import RecordTrials, Trial

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import FloatDistribution
    from optuna.samplers import BaseSampler

    Ratios = Mapping[str, FloatDistribution]

POPULATION = 10
AROUND = 1
"""Tells the random numbers of what is near from the sampler's."""
NEAR, FARTHER, TRIES = 0.05, 1.1, 50
"""Standard deviation of the logarithms of ratios near a proposal, how it grows, and how often it may."""
STARTS = ("random", "known")
SAMPLERS = ("tpe", "cmaes", "gp", "nsga2", "random")


@dataclass(frozen=True)
class OptunaSearch:
    """Asks a sampler for all ratios of a strategy at once, plays them, and tells it the reward.

    Attributes:
        sampler: a key of ``SAMPLERS``: tree-structured Parzen estimators, CMA-ES, a Gaussian process, NSGA-II with
            one objective, or independent draws.
        seed: the same seed gives the same trials.
        start: ``random``: the sampler begins; ``known``: it is asked to play first what is known before the first
            evaluation, see ``baselines.known_strategies``.
        tell_executed: tell the sampler the ratios that the environment executed instead of those it proposed. On the
            network in closed form that helped TPE with ``rescale``, made no clear difference to CMA-ES with ``bound``,
            and hurt in the other cases: most of all the Gaussian process with ``bound``.
        at_once: proposals made before the first of them is known, so that workers have something to do; null for two a
            worker, 1 without any. Trials depend on it: from 2 on the sampler knows less, takes those on the way for bad
            (TPE's constant liar), and what is near is played in place of a proposal that comes to a strategy asked for
            before, which would keep no worker busy. It is told what was played.
        storage: address of a database with a study that several searches share, each with a seed of its own, such as
            ``postgresql://host/name``; null for a study of this search alone. ``episodes`` are then those of the study.
        study: its name there.

    Raises:
        ValueError: there is no such sampler, or a value is out of range.

    References:
        Akiba et al., 2019, "Optuna: A Next-generation Hyperparameter Optimization Framework", arXiv 1907.10902.
    """

    needs: ClassVar[Mapping[str, object]] = {}

    sampler: str = setting("tpe", OneOf(SAMPLERS))
    seed: int = setting(0, SEEDS)
    start: str = setting("random", OneOf(STARTS))
    tell_executed: bool = False
    at_once: int | None = setting(None, AHEAD)
    storage: str | None = None
    study: str | None = None

    def __post_init__(self) -> None:
        check_settings(self)
        if self.storage is not None and self.sampler == "cmaes":
            raise ValueError("sampler=cmaes: runs what it reads from a shared study; take another one")

    def search(self, env: RecordTrials) -> None:
        """Play the sampler's proposals until no episode is left."""
        import optuna

        space = ratio_space(env)
        if self.storage is not None:
            self._share(env, space)
            return
        with quiet_optuna():
            study = optuna.create_study(direction="maximize", sampler=make_sampler(self.sampler, self.seed))
            if self.start == "known":
                for strategy in known_strategies(env.problem).values():
                    lowest = (max(keep, space[name].low) for name, keep in zip(space, strategy, strict=True))
                    study.enqueue_trial(dict(zip(space, lowest, strict=True)))
            asked: deque[tuple[int, bool]] = deque()
            ahead = self.at_once or env.problem.ahead
            unlike = _Unlike(env, np.random.default_rng((self.seed, AROUND)))

            def proposals() -> Iterator[Strategy]:
                while True:
                    proposed = study.ask(dict(space))
                    ratios = tuple(proposed.params[name] for name in space)
                    new = unlike(ratios) if ahead > 1 else ratios
                    asked.append((proposed.number, self.tell_executed or new is not ratios))
                    yield new

            for trial in env.play_ahead(proposals(), ahead):
                number, replace = asked.popleft()
                if replace:
                    _replace(study, number, trial, space)
                else:
                    study.tell(number, trial.reward)

    def _share(self, env: RecordTrials, space: "Ratios") -> None:
        from baselines.shared_study import SharedStudy

        assert self.storage is not None  # noqa: S101  there is no other reason to be here
        with quiet_optuna():
            shared = SharedStudy(
                self.storage,
                self.study or "amc",
                f"seed {self.seed}",
                env.remaining,
                lambda seed: make_sampler(self.sampler, seed),
                self.seed,
            )
            shared.search(env, space)


class _Unlike:
    """Has no strategy asked for twice.

    Args:
        env: tells what proposals come to.
        rng: draws what is near.
    """

    def __init__(self, env: RecordTrials, rng: np.random.Generator) -> None:
        self._problem, self._rng = env.problem, rng
        self._asked: set[Strategy] = set()

    def __call__(self, ratios: Strategy) -> Strategy:
        """Return ratios, or some near them, that come to a strategy that none came to before; the same if none do."""
        low, new = self._problem.budget.min_keep, ratios
        for attempt in range(TRIES):
            strategy = self._problem.execute(new)
            if strategy not in self._asked:
                self._asked.add(strategy)
                return new
            near = np.array(ratios) * np.exp(NEAR * FARTHER**attempt * self._rng.standard_normal(len(ratios)))
            new = tuple(near.clip(low, 1).tolist())
        return ratios


def make_sampler(name: str, seed: int) -> "BaseSampler":
    """Return a seeded sampler, with Optuna's settings but for two; ``quiet_optuna`` keeps its warnings away."""
    from optuna import samplers

    made: dict[str, Callable[[], BaseSampler]] = {
        # Said explicitly because Optuna 4 and 5 differ in their default.
        "tpe": lambda: samplers.TPESampler(seed=seed, multivariate=True, constant_liar=True),
        "cmaes": lambda: samplers.CmaEsSampler(seed=seed),
        "gp": lambda: samplers.GPSampler(seed=seed),
        # Optuna's 50 would be three generations of a usual budget.
        "nsga2": lambda: samplers.NSGAIISampler(seed=seed, population_size=POPULATION),
        "random": lambda: samplers.RandomSampler(seed=seed),
    }
    return made[name]()


def ratio_space(env: RecordTrials) -> "Ratios":
    """Return the search space: a ratio in [min_keep, 1] for each layer, named by its step, in forward order."""
    from optuna.distributions import FloatDistribution

    low = env.problem.budget.min_keep
    return {f"keep{step:03d}": FloatDistribution(low, 1.0) for step in range(len(env.problem.engine.layers))}


@contextmanager
def quiet_optuna() -> Iterator[None]:
    """Let Optuna log errors only and hold back its notes on experimental features; both as before afterwards."""
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(before)


def _replace(study: "optuna.Study", number: int, trial: Trial, space: "Ratios") -> None:
    """Withdraw the proposal of a number, and add the executed strategy as a finished trial in its place."""
    from optuna.trial import TrialState, create_trial

    study.tell(number, state=TrialState.FAIL)
    # The sampler's notes go along: CMA-ES and NSGA-II find their generations by them.
    notes = study.get_trials(deepcopy=False)[number].system_attrs
    # Rounding may leave a ratio just below the smallest of the space.
    params = {name: max(keep, space[name].low) for name, keep in zip(space, trial.strategy, strict=True)}
    study.add_trial(create_trial(value=trial.reward, params=params, distributions=dict(space), system_attrs=notes))
