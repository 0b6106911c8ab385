"""One weight tensor that loses units: its masks, its costs, and its step of the MDP."""

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from envs.engine.costs.cost_model import multiply_accumulates
from envs.engine.costs.storage import csr_bytes, n_m_bytes
from envs.engine.criteria.ranking import Ranking
from envs.engine.network.calls import Call, Inputs, batch_size, forward
from envs.engine.network.hooks import hooked
from envs.engine.network.modules import is_product, weight_of
from envs.engine.network.weight_matrix import as_matrix, from_matrix
from envs.engine.surgery.granularity import Cut
from envs.engine.surgery.masking import MASK, unmasked

SHARES = 64
"""Numbers of units that may stay, where a layer has more than this many: every 64th part of them."""


def unit_choices(units: int) -> tuple[int, ...]:
    """Return the numbers of units that may stay: every number up to 64, else every 64th part, rounded."""
    if units <= SHARES:
        return tuple(range(1, units + 1))
    return tuple(round(units * part / SHARES) for part in range(1, SHARES + 1))


@dataclass(frozen=True)
class PrunedWeight:
    """A weight tensor and how it is pruned.

    Attributes:
        modules: names of the layers that use it, in the order of their calls; it is named after the first.
        cut: its units.
        ranks: every unit's rank in its group, 0 for the most important, ``(groups, units)``.
        scores: of the units that are there to be pruned, from the best on, ``(units,)``.
        outputs: rows of the weight's matrix.
        values: weights that stay with 1, 2, ... units left in every group, float64, shape ``(units,)``.
        size: weights of the tensor, those that were masked before among them.
        macs: multiply-accumulates of a weight for one sample, over all calls.
        value_bytes: bytes of a weight.
    """

    modules: tuple[str, ...]
    cut: Cut
    ranks: Tensor
    scores: Tensor
    outputs: int
    values: Tensor
    size: int
    macs: float
    value_bytes: int

    @property
    def units(self) -> int:
        """Units of a group that are there to be pruned."""
        return len(self.values)

    def mask(self, kept: int, module: nn.Module) -> Tensor:
        """Return which weights stay with ``kept`` units left in every group, in the weight's shape."""
        weight = weight_of(module)
        matrix = self.cut.spread(self.ranks < kept, as_matrix(weight, module).shape)
        return from_matrix(matrix, module, weight.shape).to(weight.device) & unmasked(module)

    def stored_bytes(self, kept: int) -> float:
        """Return the bytes of the weight as shipped: sparse, or dense where that is smaller."""
        values = float(self.values[kept - 1])
        if self.cut.among:
            sparse = n_m_bytes(values, self.cut.among, self.value_bytes)
        else:
            columns = self.ranks.shape[1] // self.outputs
            sparse = csr_bytes(values, kept, self.outputs, columns, self.value_bytes)
        return min(sparse, float(self.size * self.value_bytes))


def prune_weight(model: nn.Module, names: tuple[str, ...], cut: Cut, ranking: Ranking, macs: float) -> PrunedWeight:
    """Put together what is known of a weight. What a mask holds at zero is gone: it is no unit, and costs nothing.

    Args:
        model: the dense network.
        names: the layers that use it, in the order of their calls.
        cut: its units.
        ranking: the order in which they stay.
        macs: multiply-accumulates of all these layers for one sample.
    """
    module = model.get_submodule(names[0])
    weight = weight_of(module)
    matrix, ranks = as_matrix(weight, module), ranking.ranks
    sizes = cut.sizes(as_matrix(unmasked(module), module)).cpu()
    # Short groups count as filled up, as long as no mask tells which units are there.
    units = int((sizes > 0).sum(1).max()) if hasattr(module, MASK) else ranks.shape[1]
    by_rank = torch.zeros(ranks.shape[1], dtype=torch.float64)
    by_rank.index_add_(0, ranks.flatten().long(), sizes.flatten().double())
    return PrunedWeight(
        modules=names,
        cut=cut,
        ranks=ranks,
        scores=ranking.scores[:units],
        outputs=len(matrix),
        values=by_rank.cumsum(0)[:units],
        size=weight.numel(),
        macs=macs / weight.numel(),
        value_bytes=weight.element_size(),
    )


def count_macs(model: nn.Module, inputs: Inputs) -> dict[str, float]:
    """Return the multiply-accumulates of every convolution and linear layer for one sample, over all its calls."""
    macs: dict[str, float] = defaultdict(float)
    samples = batch_size(inputs)

    def count(name: str, module: nn.Module, args: tuple[Any, ...], output: Tensor) -> None:
        call = Call(0, 1, tuple(args[0].shape), tuple(output.shape), samples)
        macs[name] += multiply_accumulates(module, call)

    handles = (
        module.register_forward_hook(lambda module, args, output, name=name: count(name, module, args, output))
        for name, module in model.named_modules()
        if is_product(module)
    )
    with hooked(handles), torch.no_grad():
        forward(model, inputs)
    return macs
