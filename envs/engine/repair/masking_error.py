"""How much of a layer's output is lost when weights become zero: known without running anything.

With G the second moment of a layer's inputs and D the weights that go, the outputs change by D x, of energy

    E = tr(D G D^T).

Where a batch norm behind the layer is measured anew it takes a constant away, so there G is about the mean. Weights go
in one order, so those that went before are among those that go: with d the next to go,

    E(D + d) = E(D) + <2 D G + d G, d>,

and all products d G together take what a single D G takes.
"""

from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor, nn

from envs.engine.network.calls import Inputs
from envs.engine.network.modules import blocks_of, is_reconstructible, weight_of
from envs.engine.repair.calibration import collect_moments
from envs.engine.repair.reconstruction_error import shares

Masks = Callable[[], Iterable[Tensor]]
"""Makes masks, bool in a weight's shape, from the one that keeps most: each keeps some of what the one before keeps."""


def masking_errors(
    model: nn.Module, masks: Mapping[str, Masks], norms: Mapping[str, str], inputs: Inputs, seed: int
) -> dict[str, Tensor]:
    """Run the dense network over calibration data once, and return what masks take from the outputs of its layers.

    Args:
        model: the dense network in eval mode.
        masks: of convolutions and linear layers, by module name.
        norms: the batch norm behind a layer, where it is measured anew.
        inputs: calibration inputs on the model's device.
        seed: chooses the sampled pixels.

    Returns:
        For every layer the share of its outputs' energy that is lost with each mask, as ``lost_shares``; of layers that
        are not linear in windows of their inputs the share of the squared weights, what it were with white inputs.
    """
    layers = {name: model.get_submodule(name) for name in masks}
    moments = collect_moments(model, [name for name in layers if is_reconstructible(layers[name])], inputs, seed)
    found = {}
    for name, module in layers.items():
        weight = weight_of(module)
        weight = weight.to(torch.promote_types(weight.dtype, torch.float32))
        moment = moments.pop(name, None)
        gram = None if moment is None else moment.second_moment(name in norms, weight.dtype)
        found[name] = lost_shares(weight, masks[name](), gram, blocks_of(module))
    return found


def lost_shares(weight: Tensor, masks: Iterable[Tensor], gram: Tensor | None, blocks: int = 1) -> Tensor:
    """Return the share of a layer's output energy that is lost with each of the masks.

    Args:
        weight: dense weights, outputs first.
        masks: see ``Masks``.
        gram: second moments of what the layer reads, shape ``(blocks, columns, columns)``; ``None`` for white inputs.
        blocks: of a grouped convolution.

    Returns:
        Shares in [0, 1], float64 on the CPU, ascending as masks keep less, shape ``(masks,)``. Weights that go may make
        up for each other, so that more of them lose less: the share is the largest of those that keep as much or more.
    """

    def by_block(values: Tensor) -> Tensor:
        return values.flatten(1).unflatten(0, (blocks, -1))

    dense = by_block(weight)
    present = torch.ones_like(dense, dtype=torch.bool)
    gone = torch.zeros_like(dense)  # times ``gram``
    energies = [dense.new_zeros((), dtype=torch.float64)]
    for mask in (*map(by_block, masks), torch.zeros_like(present)):
        goes = dense * (present & ~mask)
        product = goes if gram is None else _product(goes, gram)
        energies.append(energies[-1] + ((2 * gone + product) * goes).sum(dtype=torch.float64))
        gone += product
        present = mask
    largest = torch.stack(energies).cummax(0).values.clamp_max(energies[-1])
    return shares(largest.flip(0)).flip(0)[1:-1].cpu()


def _product(goes: Tensor, gram: Tensor) -> Tensor:
    """Multiply by weights most of which are zero."""
    if len(goes) > 1:  # blocks are small
        return goes @ gram
    return torch.sparse.mm(goes[0].to_sparse(), gram[0]).unsqueeze(0)
