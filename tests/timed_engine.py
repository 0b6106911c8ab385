"""The analytic engine with a table of times: of the dense time a tenth that no layer takes, and the rest by FLOPs."""

from collections.abc import Callable, Sequence

from envs.engine.analytic import AnalyticEngine
from envs.engine.types import Cost, Strategy


class TimedEngine(AnalyticEngine):
    """Knows latencies."""

    def cost(self, strategy: Strategy) -> Cost:
        """Return what a strategy takes."""
        cost, dense = super().cost(strategy), super().cost((1.0,) * len(strategy))
        return cost._replace(latency=0.1 + 0.9 * cost.flops / dense.flops)

    def kept(self, strategy: Strategy) -> tuple[int, ...]:
        """Return the units left in every layer."""
        return tuple(layer.kept(keep) for layer, keep in zip(self.layers, strategy, strict=True))


def clock_of(engine: TimedEngine, factor: float) -> Callable[[Sequence[Strategy]], list[float]]:
    """Return a clock by which all takes so many times what the table says."""
    return lambda strategies: [factor * (engine.cost(each).latency or 0.0) for each in strategies]
