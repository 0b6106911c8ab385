"""How much of a layer's output is lost when weights become zero: known without running anything.

With G the second moment of a layer's inputs and D the weights that go, the outputs change by D x, of energy

    E = tr(D G D^T).

Weights go in one order, so those that went before are among those that go: with d the next to go,

    E(D + d) = E(D) + <2 D G + d G, d>,

and all products d G together take what a single D G takes.
"""

from collections.abc import Iterable
from itertools import chain

import torch
from torch import Tensor

from envs.engine.network.weight_matrix import by_block
from envs.engine.repair.reconstruction_error import shares


def lost_shares(weight: Tensor, masks: Iterable[Tensor], gram: Tensor | None, blocks: int = 1) -> Tensor:
    """Return the share of a layer's output energy that is lost with each of the masks.

    Args:
        weight: dense weights, outputs first.
        masks: bool in the weight's shape, from the one that keeps most: each keeps some of what the one before keeps.
        gram: second moments of what the layer reads, shape ``(blocks, columns, columns)``; ``None`` for white inputs.
        blocks: of a grouped convolution.

    Returns:
        Shares in [0, 1], float64 on the CPU, ascending as masks keep less, shape ``(masks,)``. Weights that go may make
        up for each other, so that more of them lose less: the share is the largest of those that keep as much or more.
    """
    dense = by_block(weight, blocks)
    present = torch.ones_like(dense, dtype=torch.bool)
    gone = torch.zeros_like(dense)  # times ``gram``
    energies = [dense.new_zeros((), dtype=torch.float64)]
    for mask in chain(masks, [torch.zeros_like(weight, dtype=torch.bool)]):  # one at a time: there may be dozens
        stays = by_block(mask, blocks)
        goes = dense * (present & ~stays)
        product = goes if gram is None else _product(goes, gram)
        energies.append(energies[-1] + ((2 * gone + product) * goes).sum(dtype=torch.float64))
        gone += product
        present = stays
    largest = torch.stack(energies).cummax(0).values.clamp_max(energies[-1])
    return shares(largest.flip(0)).flip(0)[1:-1].cpu()


def _product(goes: Tensor, gram: Tensor) -> Tensor:
    """Multiply by weights most of which are zero."""
    if len(goes) > 1:  # blocks are small
        return goes @ gram
    return torch.sparse.mm(goes[0].to_sparse(), gram[0]).unsqueeze(0)
