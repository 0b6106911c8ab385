import pytest

from envs.engine.analytic import AnalyticEngine, Block

SMALL = (Block(16, 8, 1, 3, 0.4), Block(24, 8, 2, 1, 0.1), Block(16, 4, 1, 3, 0.9), Block(8, 4, 1, 1, 0.2))


@pytest.fixture(scope="session")
def small_engine() -> AnalyticEngine:
    """Four layers: few enough strategies to try them all."""
    return AnalyticEngine(blocks=SMALL)
