"""Adaptive batch norm: the statistics of a pruned network are not those of the dense one, so measure them anew."""

from typing import Any

import torch
from torch import Tensor, nn

from envs.engine.network.batches import count_samples, device_of, take
from envs.engine.network.calls import Inputs, forward
from envs.engine.network.modules import BatchNorm
from envs.engine.scoring.parallel import run_batches

STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


def recalibrate_batch_norms(model: nn.Module, images: Inputs, batch_size: int) -> None:
    """Measure the statistics of all batch norms anew, in place.

    Batches are run side by side, each by one thread: the statistics do not depend on how many there are.

    Args:
        model: a network in eval mode; it is left in eval mode, momenta as they were.
        images: inputs on its device, without labels.
        batch_size: images a forward pass; the statistics are the mean over the batches'.

    References:
        Li et al., 2020, "EagleEye", arXiv 2007.02491, section 3.2.
    """
    norms = _measuring(model)
    if not norms:
        return
    before = [(norm.momentum, [getattr(norm, name) for name in STATISTICS]) for norm in norms]
    measured: dict[int, list[tuple[Tensor, Tensor]]] = {}

    def measure(network: nn.Module, part: slice) -> None:
        own = _measuring(network)
        for norm in own:
            for name in STATISTICS:  # of its own
                setattr(norm, name, torch.zeros_like(getattr(norm, name)))
        forward(network, take(images, part))
        measured[part.start] = [(norm.running_mean, norm.running_var) for norm in own]

    for norm in norms:
        norm.momentum = None  # torch's cumulative average, of a norm that is called several times
        norm.train()
    count = count_samples(images)
    batches = [slice(start, start + batch_size) for start in range(0, count, batch_size)]
    try:
        run_batches(measure, model, batches, device_of(images))
    finally:
        for norm, (momentum, statistics) in zip(norms, before, strict=True):
            norm.momentum = momentum
            for name, statistic in zip(STATISTICS, statistics, strict=True):
                setattr(norm, name, statistic)
            norm.eval()
    for place, norm in enumerate(norms):
        means, variances = zip(*(measured[batch.start][place] for batch in batches), strict=True)
        norm.running_mean.copy_(torch.stack(means).mean(0))
        norm.running_var.copy_(torch.stack(variances).mean(0))
        norm.num_batches_tracked.fill_(len(batches))


def _measuring(model: nn.Module) -> list[Any]:
    """Return the batch norms that keep statistics, in the order of the modules."""
    return [m for m in model.modules() if isinstance(m, BatchNorm) and m.running_mean is not None]
