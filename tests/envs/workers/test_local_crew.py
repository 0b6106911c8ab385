"""Workers that are processes: what they come to, and that none outlives its driver."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from envs.engine.analytic import AnalyticEngine
from envs.engine.types import Evaluation, Strategy
from envs.workers.engine import WorkersEngine
from envs.workers.local import LocalCrew

ENGINE = AnalyticEngine()
STRATEGIES = [(0.25 + 0.05 * number,) * len(ENGINE.layers) for number in range(12)]
EXPECTED = [str(ENGINE.evaluate(strategy)) for strategy in STRATEGIES]
"""As text: a divergence that is not known is NaN, which is equal to nothing."""
DRIVER = """
import sys
from envs.engine.analytic import AnalyticEngine
from envs.workers.engine import WorkersEngine
from envs.workers.local import LocalCrew

with WorkersEngine(AnalyticEngine(), crew := LocalCrew(AnalyticEngine(), 1)) as engine:
    engine.evaluate((0.5,) * 14)
    print(*(process.pid for process in crew._processes), flush=True)
    sys.stdin.read()
"""


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


def test_processes_evaluate_as_the_engine_does_and_one_that_is_killed_is_replaced() -> None:
    with WorkersEngine(ENGINE, crew := LocalCrew(ENGINE, 2)) as engine:
        found = engine.evaluate_ahead(iter(STRATEGIES), 4)
        assert [str(next(found)) for _ in range(3)] == EXPECTED[:3]
        first = [process.pid for process in crew._processes]
        for pid in first:
            os.kill(pid, signal.SIGKILL)
        assert list(map(str, found)) == EXPECTED[3:]
        last = [process.pid for process in crew._processes]
    assert not set(first) & set(last)
    assert not any(map(is_alive, [*first, *last]))


def test_workers_end_with_a_driver_that_is_killed() -> None:
    driver = subprocess.Popen([sys.executable, "-c", DRIVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert driver.stdout is not None
    assert driver.stdin is not None
    workers = list(map(int, driver.stdout.readline().split()))
    assert len(workers) == 1
    assert is_alive(workers[0])
    driver.kill()
    driver.wait()
    for _ in range(600):
        if not any(map(is_alive, workers)):
            break
        time.sleep(0.1)
    driver.stdin.close()
    driver.stdout.close()
    assert not any(map(is_alive, workers))


class Unsendable(Exception):
    def __init__(self, one: object, other: object) -> None:
        super().__init__(f"{one} and {other}")


class Refusing(AnalyticEngine):
    def evaluate(self, strategy: Strategy) -> Evaluation:
        raise Unsendable("one", strategy[0])


def test_errors_of_workers_come_out_in_the_driver() -> None:
    message = pytest.raises(RuntimeError, match=r"Unsendable: one and 0\.25")
    with WorkersEngine(Refusing(), LocalCrew(Refusing(), 1)) as engine, message:
        engine.evaluate(STRATEGIES[0])
