import sys
from types import ModuleType

import numpy as np
import pytest

from envs.costs.cost_table import TableCost, cost_table, padded
from envs.engine.analytic import AnalyticEngine
from envs.engine.types import Cost, Strategy


@pytest.mark.parametrize("resource", ["flops", "params"])
def test_a_table_says_what_the_engine_says(resource: str) -> None:
    engine = AnalyticEngine()
    cost = TableCost(engine.layers, cost_table(engine, resource))
    rng = np.random.default_rng(1)
    places = np.array([[rng.integers(len(layer.choices)) for layer in engine.layers] for _ in range(20)])
    for row, told in zip(places, cost(places), strict=True):
        strategy = tuple(layer.choices[place] / layer.units for layer, place in zip(engine.layers, row, strict=True))
        assert told == pytest.approx(getattr(engine.cost(strategy), resource), rel=1e-12)


def test_a_resource_of_ones_own_is_read_off_too(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("own_costs")
    vars(module)["weighted"] = lambda cost: cost.flops + 10 * cost.params
    monkeypatch.setitem(sys.modules, "own_costs", module)
    engine = AnalyticEngine()
    places = np.array([[0] * len(engine.layers), [len(layer.choices) - 1 for layer in engine.layers]])
    flops, params, own = (
        TableCost(engine.layers, cost_table(engine, name))(places) for name in ("flops", "params", "own_costs.weighted")
    )
    assert own == pytest.approx(flops + 10 * params, rel=1e-12)


def test_what_no_table_can_hold_is_refused() -> None:
    class Cubic(AnalyticEngine):
        def cost(self, strategy: Strategy) -> Cost:
            return Cost(flops=float(np.prod(strategy[:3])), params=1.0)

    with pytest.raises(ValueError, match="not bilinear"):
        cost_table(Cubic(), "flops")
    with pytest.raises(ValueError, match="Cubic does not know latency"):
        cost_table(Cubic(), "latency")


def test_rows_are_filled_up_with_their_last() -> None:
    assert padded([[1.0, 2.0, 3.0], [4.0]]).tolist() == [[1.0, 2.0, 3.0], [4.0, 4.0, 4.0]]
