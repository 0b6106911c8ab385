"""Granularities finer than a channel: how a weight tensor is cut into the units that are pruned.

All of them cut along a weight's flattened inputs, ``columns`` = inputs of a block x kernel elements:

| granularity | unit | competes with |
|---|---|---|
| ``element`` | one weight | all of the layer |
| ``vector`` | a row of a kernel; ``vector_size`` columns where kernels have one element | all of the layer |
| ``kernel`` | the kernel of one (output, input) pair; one weight of a linear layer | all of the layer |
| ``n_m`` | one weight | its group of ``m`` consecutive columns |

Where a row does not divide evenly, its last unit, or its last group, is the shorter. A short group keeps as many
weights as the others or all it has: filled up with zeros it is still an N:M pattern, as kernels for it ask.

References:
    Mao et al., 2017, "Exploring the Granularity of Sparsity in Convolutional Neural Networks", arXiv 1705.08922;
    Mishra et al., 2021, "Accelerating Sparse Deep Neural Networks", arXiv 2104.08378, for N:M.
"""

from collections.abc import Callable
from math import prod
from typing import NamedTuple

from torch import Size, Tensor
from torch.nn.functional import pad


class Cut(NamedTuple):
    """How the columns of a weight matrix ``(outputs, columns)`` are cut.

    Attributes:
        run: consecutive weights of a unit.
        among: consecutive units that compete with each other; 0 where all of the layer do.
    """

    run: int
    among: int = 0

    def rows(self, matrix: Tensor) -> Tensor:
        """Return the weights of every unit, shape ``(groups, units, run)``; what is missing is filled with zeros."""
        missing = -matrix.shape[1] % (self.run * max(self.among, 1))
        units = pad(matrix, (0, missing)).reshape(-1, self.run)
        return units.unflatten(0, (-1, self.among) if self.among else (1, -1))

    def sizes(self, there: Tensor) -> Tensor:
        """Return how many weights of those that are there, a bool matrix, every unit has, int64, ``(groups, units)``.

        Units made of filling have none.
        """
        return self.rows(there.long()).sum(2)

    def spread(self, units: Tensor, shape: Size) -> Tensor:
        """Return for every weight of a matrix of ``shape`` the value of its unit in ``units``, ``(groups, units)``."""
        return units.unsqueeze(2).expand(-1, -1, self.run).reshape(shape[0], -1)[:, : shape[1]]


Granularity = Callable[[tuple[int, ...], int, int], Cut]
"""``(kernel size, vector_size, m) -> Cut``; the kernel size is empty for linear layers."""


def element(kernel: tuple[int, ...], vector_size: int, m: int) -> Cut:  # noqa: ARG001
    """Every weight by itself."""
    return Cut(1)


def vector(kernel: tuple[int, ...], vector_size: int, m: int) -> Cut:  # noqa: ARG001
    """A row of a kernel; ``vector_size`` inputs where kernels have one element."""
    return Cut(next((size for size in reversed(kernel) if size > 1), vector_size))


def whole_kernel(kernel: tuple[int, ...], vector_size: int, m: int) -> Cut:  # noqa: ARG001
    """The kernel of one (output, input) pair."""
    return Cut(prod(kernel))


def n_m(kernel: tuple[int, ...], vector_size: int, m: int) -> Cut:  # noqa: ARG001
    """Of ``m`` consecutive weights as many stay in every group."""
    return Cut(1, m)


GRANULARITIES: dict[str, Granularity] = {"element": element, "vector": vector, "kernel": whole_kernel, "n_m": n_m}
"""Granularities that mask weights. Channels are cut by the network's graph, see ``envs.engine.tracing.graph``."""
