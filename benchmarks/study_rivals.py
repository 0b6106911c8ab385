"""What people prune with today: the global rankings of torch-pruning, on the same dense network and data."""

import copy
from collections.abc import Callable

import torch
import torch_pruning
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from amc.zoo.data.device_data import DeviceData
from envs.engine.repair.adaptive_bn import recalibrate_batch_norms

STEPS = 200
"""In how many steps a network becomes smaller, until it is within the target."""
LARGEST = 0.9
"""Of its channels no layer loses more, as with ``min_keep=0.1``."""
BATCH = 100
IMPORTANCES: dict[str, Callable[[], object]] = {
    "l1": lambda: torch_pruning.importance.GroupMagnitudeImportance(p=1),
    "group norm": lambda: torch_pruning.importance.GroupMagnitudeImportance(p=2),
    "taylor": lambda: torch_pruning.importance.GroupTaylorImportance(),
    "bn scale": lambda: torch_pruning.importance.BNScaleImportance(),
}
"""Rankings of torch-pruning, with its own settings for them."""


def torch_pruned(model: nn.Module, data: DeviceData, importance: str, target: float) -> nn.Module:
    """Return a network pruned by one of torch-pruning's global rankings, its batch norms measured anew.

    Args:
        model: the dense network.
        data: ``calibration`` is read, with labels for ``taylor``.
        importance: a key of ``IMPORTANCES``.
        target: fraction of the multiply-accumulates that may be kept.

    Raises:
        ValueError: the ranking does not come to the target.
    """
    network = copy.deepcopy(model).eval()
    images, labels = data.inputs(data.splits.calibration.images), data.splits.calibration.labels.to(data.device)
    pruner = torch_pruning.pruner.BasePruner(
        network,
        images[:1],
        importance=IMPORTANCES[importance](),
        global_pruning=True,
        pruning_ratio=LARGEST,
        max_pruning_ratio=LARGEST,
        iterative_steps=STEPS,
        ignored_layers=_classifiers(network, labels),
    )
    dense = macs(network, images[:1])
    if importance == "taylor":
        for begin in range(0, len(labels), BATCH):
            cross_entropy(network(images[begin : begin + BATCH]), labels[begin : begin + BATCH]).backward()
    while macs(network, images[:1]) > target * dense:
        if pruner.current_step == STEPS:  # more steps would change nothing
            raise ValueError(f"target={target}: torch-pruning's {importance} leaves more with {1 - LARGEST:.0%} kept")
        pruner.step()
    network.zero_grad(set_to_none=True)
    recalibrate_batch_norms(network, images[: 5 * BATCH], BATCH)
    return network.eval()


def macs(network: nn.Module, example: Tensor) -> float:
    """Return the multiply-accumulates of one forward pass, as torch-pruning counts them."""
    with torch.no_grad():
        return float(torch_pruning.utils.count_ops_and_params(network, example)[0])


def _classifiers(network: nn.Module, labels: Tensor) -> list[nn.Module]:
    classes = int(labels.max()) + 1
    return [layer for layer in network.modules() if isinstance(layer, nn.Linear) and layer.out_features == classes]
