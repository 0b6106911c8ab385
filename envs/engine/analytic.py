"""A network in closed form: microseconds a strategy, and its optimum is known.

It stands in for a real network in tests and examples. No torch.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from envs.engine.types import Cost, Evaluation, Layer, Strategy


class Block(NamedTuple):
    """A convolution and what it costs to prune its input.

    Attributes:
        inputs: input channels.
        size: height and width of the input.
        stride: stride.
        kernel: kernel size.
        sensitivity: damage if none of the inputs were left.
    """

    inputs: int
    size: int
    stride: int
    kernel: int
    sensitivity: float


# 3x3 and 1x1 convolutions of a small image network. Neither depth nor FLOPs tells how sensitive a layer is.
BLOCKS = (
    Block(16, 32, 1, 3, 0.48),
    Block(24, 32, 1, 1, 0.2),
    Block(32, 32, 2, 3, 1.2),
    Block(32, 16, 1, 3, 0.12),
    Block(48, 16, 1, 1, 0.8),
    Block(48, 16, 1, 3, 0.16),
    Block(64, 16, 2, 3, 1.0),
    Block(64, 8, 1, 1, 0.08),
    Block(96, 8, 1, 3, 0.24),
    Block(96, 8, 1, 3, 1.2),
    Block(128, 8, 2, 3, 0.12),
    Block(128, 4, 1, 3, 0.8),
    Block(192, 4, 1, 1, 0.16),
    Block(192, 4, 1, 3, 0.4),
)


class Optimum(NamedTuple):
    """The best strategy within a target, and its metric."""

    strategy: Strategy
    metric: float


class _Frontier(NamedTuple):
    """Partial strategies, one a row: what their layers take and damage, the last error, the channels they keep."""

    macs: NDArray[np.float64]
    damage: NDArray[np.float64]
    error: NDArray[np.float64]
    kept: NDArray[np.int64]


@dataclass(frozen=True)
class AnalyticEngine:
    """A chain of convolutions whose accuracy is a formula.

    Layer t reads ``keep[t]`` of its channels and writes ``keep[t + 1]`` of them, so it takes
    ``macs[t] * keep[t] * keep[t + 1]``: neighbours share a cost. They share damage, too: with
    ``e[t] = sensitivity[t] * (1 - keep[t]) ** 2`` the damage is ``sum e[t] + interaction * sum e[t] * e[t + 1]`` and
    the metric ``dense_metric * exp(-damage)``.

    Attributes:
        blocks: the convolutions, in forward order.
        classes: outputs of the last one; they are not pruned.
        colors: inputs of the stem, a 3x3 convolution in front of the first block; they are not pruned.
        round_to: channels go in groups of this many.
        interaction: how much two errors in a row add to their sum.
        dense_metric: metric of the unpruned network.
    """

    blocks: tuple[Block, ...] = BLOCKS
    classes: int = 10
    colors: int = 3
    round_to: int = 4
    interaction: float = 5.0
    dense_metric: float = 0.95

    @cached_property
    def layers(self) -> tuple[Layer, ...]:
        """One step a block: its input channels."""
        outputs = [block.inputs for block in self.blocks[1:]] + [self.classes]
        return tuple(
            Layer(
                name=f"block{t}",
                units=block.inputs,
                choices=tuple(range(self.round_to, block.inputs + 1, self.round_to)),
                outputs=out,
                inputs=block.inputs,
                height=block.size,
                width=block.size,
                stride=block.stride,
                kernel=block.kernel,
                flops=float(block.inputs * out * block.kernel**2 * (block.size // block.stride) ** 2),
            )
            for t, (block, out) in enumerate(zip(self.blocks, outputs, strict=True))
        )

    def cost(self, strategy: Strategy) -> Cost:
        """Return the FLOPs and parameters of the convolutions and the stem."""
        kept = [layer.kept(keep) for layer, keep in zip(self.layers, strategy, strict=True)]
        flops, params = 0, 0
        for edge, (inputs, outputs) in zip(self._edges, pairwise([self.colors, *kept, self.classes]), strict=True):
            flops += edge[0] * inputs * outputs
            params += edge[1] * inputs * outputs
        return Cost(flops=float(flops), params=float(params))

    def evaluate(self, strategy: Strategy) -> Evaluation:
        """Return the metric of the formula; the loss is its negative logarithm."""
        kept = [layer.kept(keep) for layer, keep in zip(self.layers, strategy, strict=True)]
        errors = list(map(self._error, range(len(kept)), kept))
        damage = sum(errors) + self.interaction * sum(a * b for a, b in pairwise(errors))
        metric = self.dense_metric * math.exp(-damage)
        return Evaluation(metric=metric, loss=-math.log(metric), n_samples=1)

    def reconstruction_error(self, step: int) -> tuple[float, ...]:
        """Return ``e`` of the class docstring for each choice of a layer: its damage without interactions."""
        return tuple(self._error(step, choice) for choice in self.layers[step].choices)

    @cached_property
    def _edges(self) -> tuple[tuple[int, int], ...]:
        """MACs and weights per pair of channels: of the stem, then of each block."""
        stem = (9 * self.blocks[0].size ** 2, 9)
        return (stem, *((b.kernel**2 * (b.size // b.stride) ** 2, b.kernel**2) for b in self.blocks))

    def _error(self, step: int, kept: int) -> float:
        """Return e of the class docstring for a layer that keeps ``kept`` channels."""
        block = self.blocks[step]
        return block.sensitivity * (1 - kept / block.inputs) ** 2

    def optimum(self, target: float) -> Optimum:
        """Return the best of all strategies whose FLOPs are at most ``target`` of the dense network's.

        Exact, by dynamic programming over the layers. What the layers after t take and damage depends on the choice
        at t and on nothing before it. So of two partial strategies with the same last choice, one that takes no more
        and damages no more than the other can replace it in every completion: the other is dropped.

        Raises:
            ValueError: no strategy is within the target.
        """
        limit = target * self.cost((1.0,) * len(self.layers)).flops
        nothing = np.zeros(1)
        frontier = _Frontier(nothing, nothing, nothing, np.full((1, 1), self.colors))
        for step, layer in enumerate(self.layers):
            extended = [_thin(self._extend(frontier, step, choice), limit) for choice in layer.choices]
            frontier = _Frontier(*map(np.concatenate, zip(*extended, strict=True)))
        macs = frontier.macs + self._edges[-1][0] * frontier.kept[:, -1] * self.classes
        if not (macs <= limit).any():
            raise ValueError(f"target={target}: no strategy is within it")
        best = np.where(macs <= limit, frontier.damage, np.inf).argmin()
        kept = frontier.kept[best, 1:].tolist()
        strategy = tuple(units / layer.units for units, layer in zip(kept, self.layers, strict=True))
        return Optimum(strategy, self.evaluate(strategy).metric)

    def _extend(self, frontier: _Frontier, step: int, kept: int) -> _Frontier:
        """Let every partial strategy keep ``kept`` channels at ``step``."""
        error = self._error(step, kept)
        return _Frontier(
            macs=frontier.macs + self._edges[step][0] * frontier.kept[:, -1] * kept,
            damage=frontier.damage + error + self.interaction * frontier.error * error,
            error=np.full_like(frontier.error, error),
            kept=np.column_stack([frontier.kept, np.full_like(frontier.kept[:, -1], kept)]),
        )


def _thin(frontier: _Frontier, limit: float) -> _Frontier:
    """Drop what exceeds the limit, and what another partial strategy beats in cost and damage."""
    order = np.lexsort((frontier.damage, frontier.macs))
    order = order[frontier.macs[order] <= limit]
    ranked = frontier.damage[order]
    least_before = np.minimum.accumulate(np.concatenate([[np.inf], ranked]))[:-1]
    order = order[ranked < least_before]
    macs, damage, error, kept = frontier
    return _Frontier(macs[order], damage[order], error[order], kept[order])
