from collections.abc import Sequence
from dataclasses import replace

import pytest

from envs.engine.analytic import AnalyticEngine, Block
from envs.engine.free_rounding import free_choices
from envs.engine.types import Cost

LAYERS = AnalyticEngine(blocks=(Block(64, 8, 1, 1, 1.0), Block(16, 8, 1, 1, 1.0)), round_to=4).layers


def blocks_of(size: int) -> Sequence[int]:
    return [-(-units // size) for units in range(65)]


def test_of_the_counts_of_one_block_the_largest_stays() -> None:
    blocks = blocks_of(16)

    def cost(kept: Sequence[int]) -> Cost:
        return Cost(1.0, 1.0, latency=float(blocks[kept[0]] + kept[1]))

    assert free_choices(LAYERS, cost) == [(16, 32, 48, 64), (4, 8, 12, 16)]


def test_a_layer_that_takes_no_time_stays_whole() -> None:
    assert free_choices(LAYERS, lambda kept: Cost(1.0, 1.0, latency=1.0 + kept[0]))[1] == (16,)


def test_counts_that_take_longer_than_larger_ones_go() -> None:
    slow = {4: 0.0, 8: 9.0, 12: 20.0, 16: 10.0}
    layers = (replace(LAYERS[1]),)
    assert free_choices(layers, lambda kept: Cost(1.0, 1.0, latency=slow[kept[0]])) == [(4, 16)]


def test_without_latencies_nothing_is_rounded() -> None:
    with pytest.raises(ValueError, match="no table of times"):
        free_choices(LAYERS, lambda _: Cost(1.0, 1.0))
