"""One suite for every policy: a file in conf/policy is all that a new one needs to be in it."""

import random
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from amc.config.conf_folder import CONF
from amc.config.policies import policy_names
from baselines.optuna_search import SAMPLERS
from baselines.uniform import Uniform
from envs.engine.analytic import AnalyticEngine
from envs.engine.types import Cost, Evaluation, Layer, Strategy
from envs.pruning_env import CONSTRAINTS, PruningEnv
from envs.search import RecordTrials, SearchPolicy, Trial, unmet_need
from envs.sensitivity import pruned_layers

# More than the ten random trials that Optuna's samplers begin with.
EPISODES = 13
PLAY_ONE = ("global_threshold", "uniform")


class ScoredUnits(AnalyticEngine):
    """The engine in closed form, with scores for its units as engines for real networks have."""

    def unit_scores(self, step: int) -> tuple[float, ...]:
        return tuple(np.random.default_rng(step).random(self.layers[step].units).tolist())


ENGINE = ScoredUnits()


@dataclass(frozen=True)
class Rival:
    """A policy as a user chooses it: ``policy=name``, and what else the choice brings along."""

    name: str
    settings: DictConfig
    constraints: tuple[str, ...]

    def make(self, seed: int) -> SearchPolicy:
        policy: SearchPolicy = instantiate(OmegaConf.create({"seed": seed, "policy": self.settings}).policy)
        return policy


def rivals() -> list[Rival]:
    """One for each file in conf/policy, and for each sampler where there are several."""
    found = []
    for path in (CONF / "policy" / f"{name}.yaml" for name in policy_names()):
        chosen = OmegaConf.load(path)
        assert isinstance(chosen, DictConfig)
        settings = chosen.get("policy", chosen)
        constraints = (chosen.constraint,) if "constraint" in chosen else tuple(CONSTRAINTS)
        if "sampler" in settings:
            variants = {f"{path.stem}-{name}": OmegaConf.merge(settings, {"sampler": name}) for name in SAMPLERS}
            found += [Rival(name, settings, constraints) for name, settings in variants.items()]
        else:
            found.append(Rival(path.stem, settings, constraints))
    return found


RIVALS = {rival.name: rival for rival in rivals()}
SEEDED = [name for name, rival in RIVALS.items() if "seed" in rival.settings]
ALLOWED = [(name, constraint) for name, rival in RIVALS.items() for constraint in rival.constraints]
REFUSED = [(name, constraint) for name in RIVALS for constraint in CONSTRAINTS if (name, constraint) not in ALLOWED]


@dataclass(frozen=True)
class Recorded:
    """An engine that knows its answers from a record, and that uses up everybody's random numbers."""

    evaluations: list[Evaluation]

    @property
    def layers(self) -> tuple[Layer, ...]:
        return ENGINE.layers

    def cost(self, strategy: Strategy) -> Cost:
        return ENGINE.cost(strategy)

    def unit_scores(self, step: int) -> tuple[float, ...]:
        return ENGINE.unit_scores(step)

    def reconstruction_error(self, step: int) -> tuple[float, ...]:
        return ENGINE.reconstruction_error(step)

    def evaluate(self, strategy: Strategy) -> Evaluation:
        random.random()  # noqa: S311
        np.random.random()  # noqa: NPY002
        torch.rand(1)
        del strategy
        return self.evaluations.pop(0)


def play(policy: SearchPolicy, constraint: str, episodes: int = EPISODES) -> RecordTrials:
    env = RecordTrials(PruningEnv(ENGINE, constraint=constraint), episodes)
    policy.search(env)
    return env


def outcomes(trials: list[Trial]) -> list[tuple[object, ...]]:
    return [(trial.strategy, trial.reward) for trial in trials]


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[int]:
    """Policies that compute with one give the others back."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield 2
    torch.set_num_threads(before)


def test_every_policy_can_be_named_from_python() -> None:
    assert sorted(policy_names()) == sorted({name.partition("-")[0] for name in RIVALS})


@pytest.mark.parametrize(("name", "constraint"), ALLOWED)
@pytest.mark.parametrize("episodes", [1, 3, EPISODES])
def test_every_trial_but_a_probe_is_feasible_and_all_are_within_the_budget(
    name: str, constraint: str, episodes: int
) -> None:
    env = play(RIVALS[name].make(0), constraint, episodes)
    assert len(env.trials) == (1 if name in PLAY_ONE else episodes)
    assert all(trial.feasible or len(pruned_layers(trial.strategy)) <= 1 for trial in env.trials)
    assert env.trials[0].feasible, "a search that is stopped has a result"
    assert env.best.reward == max(trial.reward for trial in env.trials if trial.feasible)


@pytest.mark.parametrize(("name", "constraint"), REFUSED)
def test_a_constraint_that_makes_no_sense_is_refused_in_one_line(name: str, constraint: str) -> None:
    env = RecordTrials(PruningEnv(ENGINE, constraint=constraint), EPISODES)
    with pytest.raises(ValueError, match=f"^policy={name} .*constraint=.*$"):
        RIVALS[name].make(0).search(env)
    assert env.trials == []


@pytest.mark.parametrize("name", RIVALS)
def test_trials_follow_from_the_seed_and_the_rewards_alone(name: str) -> None:
    constraint = RIVALS[name].constraints[0]
    first = play(RIVALS[name].make(3), constraint)
    random.seed(99)
    np.random.seed(99)  # noqa: NPY002  the generator that stable-baselines3 draws from
    torch.manual_seed(99)
    recorded = Recorded([trial.evaluation for trial in first.trials])
    again = RecordTrials(PruningEnv(recorded, constraint=constraint), EPISODES)
    RIVALS[name].make(3).search(again)
    assert outcomes(again.trials) == outcomes(first.trials)


@pytest.mark.parametrize("name", SEEDED)
def test_another_seed_gives_other_trials(name: str) -> None:
    constraint = RIVALS[name].constraints[0]
    first, other = (play(RIVALS[name].make(seed), constraint, 7) for seed in (0, 1))
    assert outcomes(first.trials) != outcomes(other.trials)


@pytest.mark.parametrize("name", RIVALS)
def test_a_search_leaves_nothing_behind(
    name: str, two_threads: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    filters = list(warnings.filters)
    play(RIVALS[name].make(0), RIVALS[name].constraints[0])
    assert not list(tmp_path.iterdir())
    assert torch.get_num_threads() == two_threads
    assert list(warnings.filters) == filters
    assert "".join(capfd.readouterr()) == ""


class Blocks:
    """Layers of channels, each in a residual block that may go with them: a product, which no table of costs holds."""

    layers = tuple(
        Layer(f"{step}", units, choices, 8, 8, 1, 1, 1, kernel, 10.0)
        for step, (units, choices, kernel) in enumerate([(1, (0, 1), 0), (8, tuple(range(1, 9)), 1)] * 4)
    )

    def cost(self, strategy: Strategy) -> Cost:
        return Cost(10.0 + sum(4 + 20 * width for block, width in pairs(strategy) if block), 1.0)

    def reconstruction_error(self, step: int) -> tuple[float, ...]:
        return tuple((1 - count / self.layers[step].units) ** 2 / (2 + step) for count in self.layers[step].choices)

    def evaluate(self, strategy: Strategy) -> Evaluation:
        left = (1 + (step - 4) ** 2 / 20 * block * width for step, (block, width) in enumerate(pairs(strategy)))
        return Evaluation(float(np.prod(list(left))) / 100, 0.0, 1)


@pytest.mark.parametrize("name", ["amc", "optuna-tpe", "random", "reconstruction", "sensitivity", "uniform"])
def test_blocks_stay_or_go(name: str) -> None:
    policy = RIVALS[name].make(0)
    assert not unmet_need(policy, {"granularity": "channel_block", "reconstruct": True, "scoring": "full"})
    env = RecordTrials(PruningEnv(Blocks(), constraint=RIVALS[name].constraints[0]), EPISODES)
    policy.search(env)
    assert env.best.feasible
    assert all(keep in (0, 1) for trial in env.trials for keep in trial.strategy[::2])
    assert all(keep > 0 for trial in env.trials for keep in trial.strategy[1::2])
    assert name in PLAY_ONE or any(0 in trial.strategy for trial in env.trials)


def pairs(strategy: Strategy) -> list[tuple[float, float]]:
    return list(zip(strategy[::2], strategy[1::2], strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["amc", "optuna-tpe", "optuna-cmaes", "optuna-gp"])
@pytest.mark.parametrize("seed", range(3))
def test_what_learns_beats_uniform(name: str, seed: int) -> None:
    found = play(RIVALS[name].make(seed), "rescale", 150).best.evaluation.metric
    assert found > play(Uniform(), "rescale").best.evaluation.metric


@pytest.mark.slow
@pytest.mark.parametrize("constraint", CONSTRAINTS)
def test_sensitivity_analysis_beats_uniform(constraint: str) -> None:
    """Once: nothing in it is random."""
    found, uniform = (
        play(policy, constraint, 150).best.evaluation.metric for policy in (RIVALS["sensitivity"].make(0), Uniform())
    )
    assert (found - uniform) / (ENGINE.optimum(0.5).metric - uniform) >= 0.8


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_amc_closes_most_of_the_gap_to_the_optimum_and_beats_random(seed: int) -> None:
    uniform = play(Uniform(), "rescale").best.evaluation.metric
    found, rival = (play(RIVALS[name].make(seed), "rescale", 300).best.evaluation.metric for name in ("amc", "random"))
    assert (found - uniform) / (ENGINE.optimum(0.5).metric - uniform) >= 0.8
    assert found > rival
