"""Least squares for one layer that reads fewer channels.

With X the inputs of a layer, W its dense weights and S the columns that stay, what keeps its outputs best is

    W' = argmin || (X - mean) W^T - (X_S - mean_S) W'^T ||^2 + ridge ||W' - W_S||^2
       = W_S + W_R G_RS (G_SS + ridge I)^-1,        G = cov(X), R the columns that go,

with the means absorbed by the bias. A criterion ranks channels once, so the columns that stay are always the first
of one order. With G + ridge I = L L^T in that order, G_SS is the product of L's leading block, and
G_RS = L_RS L_SS^T, so

    W' = W_S + W_R L_RS L_SS^-1:

one Cholesky factor a layer at start-up, then one triangular solve for each number of kept channels, remembered.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from envs.engine.network.modules import blocks_of, weight_of
from envs.engine.network.weight_matrix import by_block
from envs.engine.repair.calibration import InputMoments
from envs.engine.repair.readers import Reader
from envs.engine.repair.reconstruction_error import channels_left, lost_energy, ranked_positions, shares

RIDGE = 1e-6
"""Ridge relative to the mean variance of a layer's inputs; it grows tenfold until redundant inputs can be factored."""
WIDE = 2048
"""Columns beyond which a matrix is factored in the network's own precision. In double precision the largest one alone
is most of what a search needs of memory; on VGG-16, with 4,608 columns, the share of the outputs that is lost was the
same to 0.00005, also where there are fewer samples than columns and the ridge has to grow."""


class Solution(NamedTuple):
    """Least-squares weights of a layer.

    Attributes:
        weight: weights for the inputs that stay, in ascending order of channels, all outputs, dense dtype.
        shift: what must be added to the outputs, shape ``(outputs,)``; ``None`` where the layer has no intercept.
    """

    weight: Tensor
    shift: Tensor | None


class LayerSolver:
    """Least squares for one layer; every number of kept channels is a leading block of one factor.

    A layer that reads several groups at once, such as one behind a concatenation, has no single order: its blocks
    are factored when asked for.
    """

    def __init__(self, module: nn.Module, reader: Reader, moments: InputMoments, intercept: bool) -> None:
        """Factor the inputs' covariance (second moment without ``intercept``).

        Raises:
            ValueError: the moments are not finite.
        """
        weight = weight_of(module)
        self.reader = reader
        self.shape, self.dtype = weight.shape, weight.dtype
        self.blocks = blocks_of(module)
        self.kernel = weight[0, 0].numel()
        # (blocks, outputs of a block, columns)
        self.weight = by_block(weight, self.blocks)
        self.mean = moments.mean if intercept else None
        if not moments.finite:
            raise ValueError("the calibration data makes the network's activations infinite or NaN")
        self.order = order = ranked_columns(module, reader)
        if order is None:
            self.gram = moments.second_moment(centered=intercept)
            self.gram.diagonal(dim1=1, dim2=2).add_(cholesky_with_ridge(self.gram.clone).ridge)
            return

        wide = weight[0].numel() > WIDE
        precision = torch.promote_types(self.dtype, torch.float32) if wide else torch.float64

        def ranked_gram() -> Tensor:
            gram = moments.second_moment(intercept, precision)
            return gram if moments.order is not None else gram[:, order.unsqueeze(1), order]

        # What comes of it is rounded to the network's own precision, and half the size.
        self.factor = cholesky_with_ridge(ranked_gram).factor.to(self.dtype)

    def solve(self, kept: Sequence[int]) -> Solution:
        """Return the weights for ``kept`` units left in each of the groups that the layer reads."""
        mask = self.reader.channels(kept)
        channels = mask[: len(mask) // self.blocks].nonzero().flatten()
        stay = columns_of(channels, self.kernel)
        if len(stay) == self.weight.shape[2]:
            return self._solution(self.weight.double(), stay)
        correction = self._direct(stay) if self.order is None else self._nested(stay, self.order)
        return self._solution(self.weight[:, :, stay].double() + correction, stay)

    def errors(self, group: int) -> Tensor:
        """Return the share of the outputs' energy that is lost with 0 ... units left of one group.

        Of all other groups that the layer reads every unit stays: with several, what they lose together is left out.

        Returns:
            Shares in [0, 1], float64 on the CPU, shape ``(units + 1,)``.
        """
        entry = self.reader.groups.index(group)
        position = positions(self.reader, entry, self.blocks)
        order = columns_of(position.argsort(stable=True), self.kernel)
        if self.order is not None:
            factor = self.factor
        else:
            factor = cholesky_with_ridge(lambda: self.gram[:, order.unsqueeze(1), order]).factor
        share = shares(lost_energy(self.weight[:, :, order].double(), factor.double())).cpu()
        return share[channels_left(position, len(self.reader.ranks[entry])) * self.kernel]

    def _nested(self, stay: Tensor, order: Tensor) -> Tensor:
        """Return W_R L_RS L_SS^-1 with columns in ascending order."""
        count = len(stay)
        lost = self.weight[:, :, order[count:]] @ self.factor[:, count:, :count]
        leading = self.factor[:, :count, :count]
        ranked: Tensor = torch.linalg.solve_triangular(leading, lost, upper=False, left=False)
        return ranked[:, :, order[:count].argsort()].double()

    def _direct(self, stay: Tensor) -> Tensor:
        """Return W_R G_RS (G_SS + ridge I)^-1 from the covariance itself."""
        gone = torch.ones(self.weight.shape[2], dtype=torch.bool)
        gone[stay] = False
        cross = self.gram[:, gone][:, :, stay]
        factor = torch.linalg.cholesky(self.gram[:, stay][:, :, stay])
        lost = (self.weight[:, :, gone].double() @ cross).transpose(1, 2)
        solved: Tensor = torch.cholesky_solve(lost, factor)
        return solved.transpose(1, 2)

    def _solution(self, weight: Tensor, stay: Tensor) -> Solution:
        shift = None
        if self.mean is not None:
            before = self.weight.double() @ self.mean.unsqueeze(2)
            after = weight @ self.mean[:, stay].unsqueeze(2)
            shift = (before - after).flatten().to(self.dtype)
        shape = (self.shape[0], len(stay) // self.kernel, *self.shape[2:])
        return Solution(weight.reshape(shape).to(self.dtype), shift)


def ranked_columns(module: nn.Module, reader: Reader) -> Tensor | None:
    """Return the columns of a layer from most to least important; ``None`` where it reads several groups."""
    if len(reader.groups) != 1:
        return None
    return columns_of(positions(reader, 0, blocks_of(module)).argsort(stable=True), weight_of(module)[0, 0].numel())


def positions(reader: Reader, entry: int, blocks: int) -> Tensor:
    """Return the rank of every channel of a block in one of the groups, -1 for what that group leaves alone."""
    unit = reader.members[entry].unit
    return ranked_positions(unit[: len(unit) // blocks], reader.ranks[entry])


def columns_of(channels: Tensor, kernel: int) -> Tensor:
    """Expand channels of a block to columns."""
    return (channels.unsqueeze(1) * kernel + torch.arange(kernel)).flatten()


class Factored(NamedTuple):
    """A factor, and what was added so that there is one.

    Attributes:
        factor: lower Cholesky factors, shape ``(blocks, columns, columns)``.
        ridge: added to the diagonals, shape ``(blocks, 1)``.
    """

    factor: Tensor
    ridge: Tensor


def cholesky_with_ridge(make_gram: Callable[[], Tensor]) -> Factored:
    """Factor a matrix with the least ridge with which it can be factored.

    Memory is at its highest here: the factor takes the matrix's place, which so is made again where a ridge is too low.

    Args:
        make_gram: makes a symmetric matrix, positive semi-definite up to rounding, shape
            ``(blocks, columns, columns)``.
    """
    relative = RIDGE
    while True:
        factor = make_gram().transpose(1, 2)  # columns lie together: factored in place
        diagonal = factor.diagonal(dim1=1, dim2=2)
        # Also of inputs that are all 0, and then rounded to single precision, a factor can be divided by.
        ridge = relative * diagonal.mean(1, keepdim=True).clamp_min(torch.finfo(torch.float32).tiny)
        diagonal += ridge
        fault = torch.empty(len(factor), dtype=torch.int32, device=factor.device)
        torch.linalg.cholesky_ex(factor, out=(factor, fault))
        if not fault.any():
            return Factored(factor, ridge)
        relative *= 10
