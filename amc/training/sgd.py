"""Stochastic gradient descent on a train split: what trains dense networks and fine-tunes pruned ones."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, pad

from amc.config.recipe import Recipe
from amc.zoo.data.dataset import Splits

Progress = Callable[[int, int, float], None]


def augment(images: Tensor, recipe: Recipe, generator: torch.Generator) -> Tensor:
    """Shift every image of a batch on its own, over black, and mirror half of them, as the recipe says."""
    count, _, height, width = images.shape
    if recipe.shift:
        padded = pad(images, (recipe.shift,) * 4)
        top, left = torch.randint(0, 2 * recipe.shift + 1, (2, count, 1), generator=generator)
        rows, columns = top + torch.arange(height), left + torch.arange(width)
        image = torch.arange(count).view(-1, 1, 1)
        images = padded[image, :, rows.unsqueeze(2), columns.unsqueeze(1)].permute(0, 3, 1, 2)
    if recipe.flip:
        mirrored = torch.rand(count, generator=generator) < 0.5
        images = torch.where(mirrored.view(-1, 1, 1, 1), images.flip(-1), images)
    return images


def make_optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """SGD with Nesterov momentum; biases and norm parameters are not decayed."""
    decayed = [p for p in model.parameters() if p.requires_grad and p.ndim > 1]
    others = [p for p in model.parameters() if p.requires_grad and p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": recipe.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.SGD(groups, lr=recipe.lr, momentum=0.9, nesterov=True)


class Descent:
    """Steps of SGD down a loss, at a rate that rises over the first tenth of them and falls to zero on a cosine.

    Args:
        model: the network.
        recipe: its ``lr`` is the highest rate.
        steps: how many there will be.
    """

    def __init__(self, model: nn.Module, recipe: Recipe, steps: int) -> None:
        self._optimizer = make_optimizer(model, recipe)
        self._schedule = torch.optim.lr_scheduler.OneCycleLR(
            self._optimizer, recipe.lr, total_steps=steps + 1, pct_start=0.1, div_factor=25, cycle_momentum=False
        )

    def step(self, loss: Tensor) -> None:
        """Take a step."""
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self._optimizer.step()
        self._schedule.step()


def fit(
    model: nn.Module, splits: Splits, recipe: Recipe, seed: int, device: str, progress: Progress | None = None
) -> None:
    """Train ``model`` in place with cross-entropy and leave it in eval mode.

    Args:
        model: the network; it is moved to ``device``.
        splits: ``train`` is read, nothing else.
        recipe: how.
        seed: fixes order and augmentation.
        device: a torch device name.
        progress: called after every step with the step, the number of steps and the loss.
    """
    model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    steps = round(recipe.epochs * (len(splits.train.labels) // recipe.batch_size))
    if steps > 0:
        _run_steps(model.train(), splits, recipe, steps, torch.Generator().manual_seed(seed), progress)
    model.eval()


def _run_steps(
    model: nn.Module,
    splits: Splits,
    recipe: Recipe,
    steps: int,
    generator: torch.Generator,
    progress: Progress | None,
) -> None:
    device = next(model.parameters()).device
    descent = Descent(model, recipe, steps)
    order = torch.empty(0, dtype=torch.int64)
    for step in range(1, steps + 1):
        if len(order) < recipe.batch_size:
            order = torch.randperm(len(splits.train.labels), generator=generator)
        batch, order = splits.train.take(order[: recipe.batch_size]), order[recipe.batch_size :]
        images = splits.normalize(augment(batch.images, recipe, generator)).to(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=recipe.bf16):
            loss = cross_entropy(model(images), batch.labels.to(device))
        descent.step(loss)
        if progress is not None:
            progress(step, steps, loss.item())
