"""Seconds of a network from a table of its layers: what a runtime takes for them at some counts of channels. No torch.

A layer's time is interpolated between measured counts, rounded up to the block of channels that the runtime computes
at once, times what it costs when counts are no multiple that its kernels like. A network's time is that of its layers
by kind, each with the factor that fits whole networks that were measured, plus as much for each, however wide it is.

References:
    Yang et al., 2018, "NetAdapt", arXiv 1804.03230, which adds up measured layers.
    Shen et al., 2021, "HALP: Hardware-Aware Latency Pruning", arXiv 2110.10811, on the staircase.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import gcd, inf
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
FINE_BLOCK, FEW = 4, 16
"""Of few channels kernels read what is there, in finer blocks."""
LEAST = 0.1
"""Of what layers take by themselves: far smaller networks than those measured take some time, too."""
KINDS = ("pointwise", "conv", "depthwise", "linear")


class LayerShape(NamedTuple):
    """What a layer's time depends on beside its numbers of channels.

    Attributes:
        kind: ``conv``, ``depthwise`` or ``linear``.
        kernel: size along every axis; empty for linear layers, as are the next three.
        stride: along every axis.
        padding: at both ends of every axis.
        dilation: along every axis.
        size: pixels of the input along every axis; of a linear layer the axes between batch and features.
        groups: blocks of a convolution that is not depthwise.
    """

    kind: str
    kernel: tuple[int, ...] = ()
    stride: tuple[int, ...] = ()
    padding: tuple[int, ...] = ()
    dilation: tuple[int, ...] = ()
    size: tuple[int, ...] = ()
    groups: int = 1

    @property
    def family(self) -> str:
        """One of ``KINDS``: layers of a family share the factor that fits whole networks."""
        return "pointwise" if self.kind == "conv" and set(self.kernel) == {1} else self.kind

    def __str__(self) -> str:
        size = "x".join(map(str, self.size))
        return f"{self.kind} {'x'.join(map(str, self.kernel))} at {size}" if self.kernel else f"{self.kind} {size}"


class TimedLayer(NamedTuple):
    """A layer of a network with its numbers of channels.

    Attributes:
        shape: what it computes.
        inputs: input channels.
        outputs: output channels.
        calls: how often it is called.
    """

    shape: LayerShape
    inputs: int
    outputs: int
    calls: int = 1


class LatencyModel(Protocol):
    """Predicts how long a network takes."""

    def seconds(self, layers: Sequence[TimedLayer]) -> float:
        """Return the seconds of one forward pass; more channels never take less, where counts are whole blocks."""


@dataclass(frozen=True)
class CountTimes:
    """Times of one layer by its numbers of channels.

    Attributes:
        inputs: measured numbers of input channels, ascending.
        outputs: the same of output channels; of a depthwise layer, whose channels are the same, only the last.
        milliseconds: shape ``(inputs, outputs)``, ascending along both axes.
        block: channels that the runtime computes at once.
        penalties: what an odd count costs, as a factor, for inputs and for outputs, by the largest power of two
            that divides it.
    """

    inputs: FloatArray
    outputs: FloatArray
    milliseconds: FloatArray
    block: int
    penalties: tuple[Mapping[int, float], Mapping[int, float]]
    _known: dict[tuple[int, int], float] = field(default_factory=dict, compare=False, repr=False)

    def at(self, inputs: int, outputs: int) -> float:
        """Return the milliseconds at some counts; beyond those measured, in proportion."""
        key = (inputs, outputs)
        if key not in self._known:
            (low, high, part), (left, right, share) = (
                self._place(inputs, self.inputs),
                self._place(outputs, self.outputs),
            )
            grid = self.milliseconds
            near = grid[low, left] * (1 - share) + grid[low, right] * share
            far = grid[high, left] * (1 - share) + grid[high, right] * share
            odd = self._penalty(inputs, self.inputs, 0) * self._penalty(outputs, self.outputs, 1)
            self._known[key] = float(near * (1 - part) + far * part) * odd
        return self._known[key]

    def _place(self, count: int, axis: FloatArray) -> tuple[int, int, float]:
        """Return the neighbours of a count on an axis, and how far it is from the first to the second."""
        value = min(max(self.rounded(count), float(axis[0])), float(axis[-1]))
        high = int(np.searchsorted(axis, value))
        low = max(high - 1, 0)
        return low, high, (value - axis[low]) / (axis[high] - axis[low]) if high > low else 0.0

    def rounded(self, count: int) -> float:
        """Return the number of channels that the runtime computes for some count."""
        if count < FINE_BLOCK:
            return float(count)
        block = min(self.block, FINE_BLOCK) if count <= FEW else self.block
        return float(-(-count // block) * block)

    def _penalty(self, count: int, axis: FloatArray, side: int) -> float:
        # The whole count was measured as it is.
        return 1.0 if count >= axis[-1] else self.penalties[side].get(gcd(count, self.block), 1.0)


@dataclass(frozen=True)
class TableModel:
    """Adds up the layers of a network.

    Attributes:
        times: of every layer shape that was measured.
        factors: of every family in ``KINDS``.
        overhead: milliseconds a layer takes however wide it is; below 0 where layers take less than by themselves.
        per_value: milliseconds of each thousand values that layers write, for what stands between them.
        cache: thousands of weights that stay in the processor's cache from one pass to the next.
        per_weight: milliseconds of each thousand weights beyond, which every pass brings in again.
    """

    times: Mapping[LayerShape, CountTimes]
    factors: Mapping[str, float]
    overhead: float
    per_value: float
    cache: float = inf
    per_weight: float = 0.0

    def seconds(self, layers: Sequence[TimedLayer]) -> float:
        """Return the predicted seconds of a network.

        Raises:
            KeyError: a layer's shape was not measured.
        """
        features = features_of(self.times, layers, self.cache)
        factors = [self.factors[kind] for kind in KINDS]
        coefficients = [*factors, self.per_value, self.per_weight, self.overhead]
        found, layered = float(features @ np.array(coefficients)), float(features[:-1] @ np.array(coefficients[:-1]))
        return max(found, LEAST * layered) / 1000


def features_of(times: Mapping[LayerShape, CountTimes], layers: Sequence[TimedLayer], cache: float = inf) -> FloatArray:
    """Return what the time of a network is made of.

    Args:
        times: of its layers.
        layers: with their channels.
        cache: thousands of weights that a cache holds.

    Returns:
        The milliseconds of its layers by family, the thousands of values that they write, the thousands of weights that
        the cache does not hold, and the number of layers.
    """
    found = np.zeros(len(KINDS) + 3)
    weights = 0.0
    for shape, inputs, outputs, calls in layers:
        found[-1] += calls
        found[KINDS.index(shape.family)] += calls * times[shape].at(inputs, outputs)
        found[-3] += calls * times[shape].rounded(outputs) * pixels(shape) / 1000
        weights += weights_of(shape, times[shape].rounded(inputs), times[shape].rounded(outputs))
    found[-2] = max(weights - cache, 0.0)
    return found


def weights_of(shape: LayerShape, inputs: float, outputs: float) -> float:
    """Return the thousands of weights of a layer."""
    pairs = outputs if shape.kind == "depthwise" else inputs * outputs / shape.groups
    return float(np.prod(shape.kernel)) * pairs / 1000


def is_whole(count: int, most: int) -> bool:
    """Whether a number of channels is on the grid of a table, not beside it to see what odd counts cost.

    Args:
        count: the number.
        most: the largest that was measured.
    """
    return count in (most, *range(1, FINE_BLOCK)) or count % (2 * FINE_BLOCK if count > FEW else FINE_BLOCK) == 0


def pixels(shape: LayerShape) -> float:
    """Return at how many places a layer writes, or nearly so."""
    strides = shape.stride or (1,) * len(shape.size)
    return float(np.prod([size / stride for size, stride in zip(shape.size, strides, strict=True)]))


def monotone(grid: FloatArray) -> FloatArray:
    """Return the ascending array that is nearest to one of positive numbers, by the largest ratio between the two.

    It is the geometric mean of the largest value so far and the smallest to come, along all axes.
    """
    before, after = grid.copy(), grid[tuple(slice(None, None, -1) for _ in grid.shape)].copy()
    for axis in range(grid.ndim):
        before = np.maximum.accumulate(before, axis)
        after = np.minimum.accumulate(after, axis)
    return np.sqrt(before * after[tuple(slice(None, None, -1) for _ in grid.shape)])
