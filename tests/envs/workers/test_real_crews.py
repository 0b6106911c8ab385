"""The same search with workers that are really there, on a real network; and what kills of them come to."""

import os
import random
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial

import pytest
from small_engine import make_engine

from amc.agent.policy import AMC
from baselines.optuna_search import OptunaSearch
from baselines.random_search import RandomSearch
from baselines.reconstruction import Reconstruction
from baselines.sensitivity import SensitivityAnalysis
from envs.engine.analytic import AnalyticEngine
from envs.engine.types import Evaluation, PruningEngine, Strategy
from envs.pruning_env import PruningEnv
from envs.search import RecordTrials, SearchPolicy, play
from envs.workers.crew import Crew
from envs.workers.engine import WorkersEngine
from envs.workers.local import LocalCrew

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("seen_by_workers")]
N = 2
EPISODES = 12
KILLS = 30
POLICIES: list[Callable[[int | None], SearchPolicy]] = [
    lambda _: RandomSearch(seed=1),
    lambda ahead: OptunaSearch("tpe", seed=1, at_once=ahead),
    lambda ahead: SensitivityAnalysis(at_once=ahead),
    lambda ahead: Reconstruction(1, at_once=ahead),
    lambda ahead: AMC(seed=1, at_once=ahead),
]


@pytest.fixture
def seen_by_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let actors import what this module imports: of the driver's path Ray hands on the first folder only."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))


def make_crew(kind: str, engine: PruningEngine, size: int) -> Crew:
    if kind == "local":
        return LocalCrew(engine, size)
    pytest.importorskip("ray")
    from envs.workers.ray_actors import RayCrew

    return RayCrew(engine, size)


def killers(crew: Crew) -> list[Callable[[], None]]:
    """What kills each worker that there is now."""
    if isinstance(crew, LocalCrew):
        return [partial(os.kill, process.pid, signal.SIGKILL) for process in crew._processes]
    import ray

    return [partial(ray.kill, actor) for actor in crew._actors.values()]


def told(env: RecordTrials) -> list[str]:
    return [f"{trial.index} {trial.strategy} {trial.reward} {trial.evaluation}" for trial in env.trials]


def search(policy: SearchPolicy, engine: PruningEngine) -> list[str]:
    env = RecordTrials(PruningEnv(engine, target=0.5), EPISODES)
    play(policy, env)
    return told(env)


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::FutureWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize("kind", ["local", "ray"])
def test_every_policy_scores_the_same_strategies_to_the_last_bit(kind: str) -> None:
    engine = make_engine()
    with WorkersEngine(engine, make_crew(kind, engine, N)) as working:
        found = [search(policy(None), working) for policy in POLICIES]
    alone = make_engine()
    assert found == [search(policy(2 * N), alone) for policy in POLICIES]


class Slow(AnalyticEngine):
    """Takes a while for each strategy, another one each time."""

    def evaluate(self, strategy: Strategy) -> Evaluation:
        time.sleep(random.uniform(0.0, 0.2))  # noqa: S311
        return super().evaluate(strategy)


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::FutureWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize("kind", ["local", "ray"])
def test_kills_of_random_workers_change_nothing(kind: str) -> None:
    rng = random.Random(0)  # noqa: S311
    wanted = [(rng.uniform(0.2, 1.0),) * 14 for _ in range(2 * KILLS)]
    with WorkersEngine(Slow(), crew := make_crew(kind, Slow(), N)) as working:
        env = RecordTrials(PruningEnv(working, target=0.4), 2 * KILLS)
        for trial in env.play_ahead(wanted, 2 * N):
            if trial.index % 2:
                rng.choice(killers(crew))()
    alone = RecordTrials(PruningEnv(AnalyticEngine(), target=0.4), 2 * KILLS)
    alone.play_strategies(wanted)
    assert told(env) == told(alone)


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::FutureWarning", "ignore::DeprecationWarning")
def test_actors_are_placed_by_the_gpus_that_they_are_given() -> None:
    """Ray counts GPUs that it is told of: here are none."""
    ray = pytest.importorskip("ray")
    from envs.workers.ray_actors import RayCrew

    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    ray.init(address="local", num_cpus=8, num_gpus=1, include_dashboard=False, log_to_driver=False)
    try:
        crew = RayCrew(AnalyticEngine(), 3, gpus=0.5)
        ready = crew.wait(60) + crew.wait(60)
        assert len({answer.worker for answer in ready}) == 2
        assert crew.wait(5) == []  # the third has no place
        assert ray.available_resources().get("GPU", 0.0) == 0.0
        with suppress(ray.exceptions.RayError):
            ray.kill(crew._actors[ready[0].worker])
        assert [answer.lost for answer in crew.wait(60)] == [""]
        crew.close()
        assert ray.is_initialized()  # it was not begun by the crew
    finally:
        ray.shutdown()
