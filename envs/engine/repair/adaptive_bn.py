"""Adaptive batch norm: the statistics of a pruned network are not those of the dense one, so measure them anew."""

import torch
from torch import nn

from envs.engine.network.batches import split
from envs.engine.network.calls import Inputs, forward
from envs.engine.network.modules import BatchNorm


def recalibrate_batch_norms(model: nn.Module, images: Inputs, batch_size: int) -> None:
    """Measure the statistics of all batch norms anew, in place.

    Args:
        model: a network in eval mode; it is left in eval mode, momenta as they were.
        images: inputs on its device, without labels.
        batch_size: images a forward pass; the statistics are the mean over the batches'.

    References:
        Li et al., 2020, "EagleEye", arXiv 2007.02491, section 3.2.
    """
    norms = [m for m in model.modules() if isinstance(m, BatchNorm) and m.running_mean is not None]
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # torch's cumulative average
        norm.train()
    with torch.no_grad():
        for batch in split(images, batch_size):
            forward(model, batch)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.eval()
