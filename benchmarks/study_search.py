"""Our method in a given time: a search on few images, and of its best the one that is nearest to the dense network."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import NamedTuple

from torch import nn

from amc.config.policies import make_policy
from amc.run.stage import SearchPlan, Stage
from amc.training.choice import best_trials
from amc.zoo.data.dataset import Split
from baselines.known_strategies import known_strategies, least_error_by_depth, most_promising_first
from benchmarks.cpu_clock import Clock
from envs.constraint import uniform_strategy
from envs.engine.types import Evaluation, KnowsReconstructionError, Strategy
from envs.search import RecordTrials, Trial

SEARCH = 0.07
"""Share of the time by which a search ends, start-up included."""
CHOICE = 0.13
"""Share of the time by which its best, and what was known before, are repaired as for fine-tuning, and compared."""
FEWEST_FINALISTS, FINALISTS = 2, 5
"""However little time there is, what suits the final repair has to stand up to something."""
MARGIN = 0.05
"""By which a finalist has to be nearer than the first, as a share of its divergence: two standard errors on ``SCORED``
images. Smaller leads are chance, and what counts the deep layers more also gains more by fine-tuning."""
SCORED = 1000
"""Images that candidates are scored on: divergence changes with every output, so few tell as much as many labels."""
LEAST_EPISODES, MOST_EPISODES = 40, 100
"""Fewer never got beyond what is known before the first, and were missing from fine-tuning; 80 are worth half
a point at equal steps on ResNet-20 at 30% of the FLOPs (benchmarks/study.md)."""


class TimeIsUp(Exception):
    """A search has had its share: policies take some time themselves, so fewer episodes than planned may be played."""


class Finished(NamedTuple):
    """A network as fine-tuning begins with it."""

    strategy: Strategy
    network: nn.Module
    evaluation: Evaluation


class Found(NamedTuple):
    """What a search came to.

    Attributes:
        network: repaired as fine-tuning begins with it.
        strategy: that it was pruned by.
        episodes: that were played, 0 where there was no time for a search that pays.
        finalists: that were compared.
    """

    network: nn.Module
    strategy: Strategy
    episodes: int
    finalists: int


def search_and_choose(stage: Stage, policy: str, clock: Clock, seed: int) -> Found:
    """Search as long as its share of the time lasts, and return what is best once it is repaired for fine-tuning.

    Candidates are repaired more cheaply than that, so the best of the search has to stand up to what was known before,
    above all to what suits that repair and fine-tuning, which comes first and has to be clearly beaten. A search that
    there is hardly time for is left out, and so is the contest then: what is nearest to the dense network before
    fine-tuning is not what is best behind it (benchmarks/study.md).
    """
    episodes = affordable(stage, clock)
    engine, budget = stage.engine, stage.problem.budget
    first = [least_error_by_depth(budget)] if isinstance(budget.engine, KnowsReconstructionError) else []
    if first and episodes < LEAST_EPISODES:
        return Found(engine.finish(first[0]), first[0], 0, 1)
    trials = _searched(stage, policy, clock, seed, episodes) if episodes >= LEAST_EPISODES else ()
    best = [trial.strategy for trial in best_trials(trials, 1)] if trials else []
    known = known_strategies(stage.problem)
    finalists = list(dict.fromkeys([*first, *best, *most_promising_first(known)]))[:FINALISTS]
    finished = _finished(stage, finalists, clock)
    chosen = clearly_nearest(finished)
    return Found(chosen.network, chosen.strategy, len(trials), len(finished))


def clearly_nearest(finished: Sequence[Finished]) -> Finished:
    """Return the network that diverges least from the dense one; the first, unless another does by ``MARGIN`` less."""
    first, nearest = finished[0], min(finished, key=lambda each: each.evaluation.divergence)
    return nearest if nearest.evaluation.divergence < (1 - MARGIN) * first.evaluation.divergence else first


def _searched(stage: Stage, policy: str, clock: Clock, seed: int, episodes: int) -> Sequence[Trial]:
    def stop_in_time(_: Trial) -> None:
        if clock.left(SEARCH) < 0:
            raise TimeIsUp

    env = RecordTrials(stage.problem, episodes, [stop_in_time])
    with suppress(TimeIsUp):
        make_policy(policy, seed).search(env)
    return env.trials


def on_few_images(plan: SearchPlan) -> SearchPlan:
    """Return a plan of the same search, rewarded by the divergence from the dense network on some of its images."""
    search = plan.data.splits.search
    few = Split(search.images[:SCORED], search.labels[:SCORED])
    return replace(plan, score=plan.data.scorer(few), problem=replace(plan.problem, reward="divergence"))


def affordable(stage: Stage, clock: Clock) -> int:
    """Return how many episodes the search's share of the time is enough for."""
    ratios = uniform_strategy(stage.problem.budget)
    stage.engine.evaluate(ratios)  # makes caches
    left = clock.left(SEARCH)
    stage.engine.score_again(ratios)
    after = clock.left(SEARCH)
    return max(1, min(MOST_EPISODES, int(after / (left - after))))


def _finished(stage: Stage, strategies: list[Strategy], clock: Clock) -> list[Finished]:
    """Repair as many networks as there is time for, two at least, as fine-tuning begins with them."""
    finished: list[Finished] = []
    for strategy in strategies:
        if len(finished) >= FEWEST_FINALISTS and clock.left(CHOICE) < 0:
            break
        network = stage.engine.finish(strategy)
        finished.append(Finished(strategy, network, stage.engine.score_network(network)))
    return finished
