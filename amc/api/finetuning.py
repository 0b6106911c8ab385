"""Fine-tuning on a caller's own batches."""

from collections.abc import Sized
from typing import Any

import torch
from torch import Tensor, nn

from amc.api.batches import Batches, as_pair
from amc.config.recipe import Recipe
from amc.training.sgd import Descent, Progress
from envs.engine.network.batches import to_device
from envs.engine.network.calls import forward
from envs.engine.network.samples import Loss


def fit_batches(
    model: nn.Module, batches: Batches, epochs: int, lr: float, loss: Loss, progress: Progress | None = None
) -> None:
    """Train ``model`` in place by SGD, on the device it is on, and leave it in eval mode.

    Args:
        model: the network; its masks stay.
        batches: a list or data loader, gone through once an epoch.
        epochs: how often.
        lr: the highest learning rate; it rises over the first tenth of all steps and falls to zero on a cosine.
        loss: ``(outputs, targets) -> mean loss``.
        progress: called after every step with the step, the number of steps and the loss.

    Raises:
        ValueError: an argument is out of range, or the loss is not finite.
    """
    count = _number_of(batches)
    if epochs < 1 or not lr > 0:
        raise ValueError(f"epochs={epochs}, lr={lr}: fine-tuning needs at least one epoch and a rate above 0")
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not parameters:
        raise ValueError("no parameter of the network is to be trained: set requires_grad before pruning")
    steps = epochs * count
    descent = Descent(model, Recipe(epochs, lr), steps)
    model.train()
    step = 0
    with torch.enable_grad():
        for _ in range(epochs):
            for number, batch in enumerate(batches):
                value = _loss(model, as_pair("batches", number, batch), loss, parameters[0].device)
                if not value.isfinite():
                    raise ValueError(f"the loss of batch {number} is {value.item()}: try a lower lr than {lr}")
                descent.step(value)
                step += 1
                if progress is not None:
                    progress(step, steps, value.item())
    model.eval()


def _number_of(batches: Batches) -> int:
    """Return how many batches an epoch has."""
    try:
        count = len(batches) if isinstance(batches, Sized) else None
    except TypeError:  # a loader whose data set has no length
        count = None
    if count is None:
        raise ValueError("batches: fine-tuning goes through them every epoch: give a list or a loader with a length")
    if count == 0:
        raise ValueError("batches holds no batch")
    return count


def _loss(model: nn.Module, pair: tuple[Any, Tensor], loss: Loss, device: torch.device) -> Tensor:
    inputs, targets = pair
    return loss(forward(model, to_device(inputs, device)), targets.to(device))
