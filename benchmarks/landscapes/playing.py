"""Lets policies search on landscapes, and measures how far from the best known strategy they end."""

import json
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from multiprocessing import get_context
from time import process_time
from typing import Any

import numpy as np
import torch

from benchmarks.landscapes.rivals import POLICIES, VARIANTS, entrant
from benchmarks.record import Record, Row
from envs.coreset_scoring import pilot_strategies
from envs.engine.types import KnowsReconstructionError, KnowsUnitScores
from envs.landscapes.engine import LandscapeEngine
from envs.landscapes.files import Landscape, read_landscape
from envs.pruning_env import PruningEnv
from envs.search import RecordTrials, Trial, better

RANDOM = 200
"""Random strategies whose mean metric is a regret of 1."""
NOTED = (1, 2, 5, 10, 15, 20, 30, 50, 75, 100, 150, 200, 300, 400, 500, 600, 800, 1000)
"""Evaluations after which the regret is noted."""


@dataclass(frozen=True)
class Game:
    """One search.

    Attributes:
        landscape: its name.
        target: on FLOPs.
        policy: its name, or the dotted path of an entrant.
        seed: of the policy and of the noise.
        episodes: that it may play.
        noise: whether evaluations scatter.
        reward: a key of ``REWARDS``.
    """

    landscape: str
    target: float
    policy: str
    seed: int
    episodes: int
    noise: bool
    reward: str


@cache
def landscape_of(name: str) -> Landscape:
    """Return a landscape, read once a process."""
    return read_landscape(name)


@cache
def yardstick(name: str, target: float) -> tuple[float, float]:
    """Return the metric of the best known strategy, and the mean metric of random ones."""
    landscape = landscape_of(name)
    engine = LandscapeEngine(landscape.description, landscape.surrogate)
    budget = PruningEnv(engine, target=target).budget
    drawn = pilot_strategies(budget, RANDOM, seed=0)
    best = engine.evaluate(landscape.best[target]).metric
    return best, float(np.mean([engine.evaluate(strategy).metric for strategy in drawn]))


def can_play(policy: str, landscape: str) -> bool:
    """Tell whether the network knows what a policy goes by."""
    description = landscape_of(landscape).description
    known = LandscapeEngine(description, landscape_of(landscape).surrogate)
    if policy.startswith("least error"):
        return isinstance(known, KnowsReconstructionError)
    return isinstance(known, KnowsUnitScores) or not policy.startswith("global threshold")


def play(game: Game) -> Row:
    """Play a search, and return its regrets after so many evaluations, and the CPU seconds it took."""
    torch.set_num_threads(1)
    landscape = landscape_of(game.landscape)
    silent = LandscapeEngine(landscape.description, landscape.surrogate)
    engine = LandscapeEngine(landscape.description, landscape.surrogate, game.noise, game.seed)
    env = RecordTrials(PruningEnv(engine, target=game.target, reward=game.reward), game.episodes)
    start = process_time()
    maker(game.policy)(game.seed).search(env)
    seconds = process_time() - start
    best, chance = yardstick(game.landscape, game.target)
    leaders = leaders_of(env.trials)

    def regret(evaluations: int) -> float:
        metric = silent.evaluate(leaders[min(evaluations, len(leaders)) - 1].strategy).metric if leaders else chance
        return (best - metric) / (best - chance)

    noted = {str(count): round(regret(count), 6) for count in noted_of(game.episodes)}
    return {"game": vars(game), "regret": noted, "seconds": round(seconds, 3), "trials": len(env.trials)}


def noted_of(episodes: int) -> list[int]:
    """Return after how many evaluations of a search it is noted where it is: at its end in any case."""
    return [*(count for count in NOTED if count < episodes), episodes]


def leaders_of(trials: Sequence[Trial]) -> list[Trial]:
    """Return the best so far, after each trial."""

    def leading(leader: Trial, trial: Trial) -> Trial:
        return better(trial, leader) or leader

    return list(accumulate(trials, leading))


def maker(name: str) -> Callable[[int], Any]:
    """Return what makes a policy of a name."""
    made = POLICIES | VARIANTS
    return made[name] if name in made else entrant(name)


def play_all(games: Sequence[Game], jobs: int, record: Record | None) -> list[Row]:
    """Play what is not recorded, several searches at a time, and return all."""
    done = {json.dumps(row["game"]): row for row in (record.rows if record else [])}
    missing = [game for game in games if json.dumps(vars(game)) not in done]
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        for row in pool.map(play, missing, chunksize=1) if jobs > 1 else map(play, missing):
            done[json.dumps(row["game"])] = row
            if record:
                record.add(row)
    return [done[json.dumps(vars(game))] for game in games]
