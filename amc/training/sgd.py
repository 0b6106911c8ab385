"""Stochastic gradient descent on a train split: what trains dense networks and fine-tunes pruned ones."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from amc.config.recipe import Recipe
from amc.seeding import seed_everything
from amc.training.augmentation import augment
from amc.training.distillation import Distillation
from amc.training.mixed_precision import mixed_precision
from amc.training.schedule import rate_factor
from amc.zoo.data.dataset import Split, Splits
from envs.engine.network.hooks import hooked
from envs.engine.network.memory_layout import contiguous_where_narrow, lay_out

Progress = Callable[[int, int, float], None]


def make_optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """SGD with Nesterov momentum; biases and norm parameters are not decayed."""
    decayed = [p for p in model.parameters() if p.requires_grad and p.ndim > 1]
    others = [p for p in model.parameters() if p.requires_grad and p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": recipe.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.SGD(groups, lr=recipe.lr, momentum=recipe.momentum, nesterov=recipe.momentum > 0)


class Descent:
    """Steps of SGD down a loss, at a rate that rises over the first of them and falls to zero on a cosine.

    Args:
        model: the network.
        recipe: its ``lr`` is the highest rate.
        steps: how many there will be, at least one.
    """

    def __init__(self, model: nn.Module, recipe: Recipe, steps: int) -> None:
        self._optimizer = make_optimizer(model, recipe)
        self._schedule = torch.optim.lr_scheduler.LambdaLR(
            self._optimizer, lambda step: rate_factor(step, steps, recipe.warm_up)
        )

    def step(self, loss: Tensor) -> None:
        """Take a step."""
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self._optimizer.step()
        self._schedule.step()


class Fitting:
    """The training of a network in place, which may pause: between two calls it is as it will be used, in eval mode.

    Args:
        model: the network; it is moved to the device.
        splits: ``train`` is read, nothing else.
        recipe: how.
        seed: fixes order and augmentation.
        device: a torch device name.
        distillation: what it learns from beside labels; none for cross-entropy alone.

    Attributes:
        steps: how many there are in all.
        done: how many were taken.
    """

    def __init__(
        self,
        model: nn.Module,
        splits: Splits,
        recipe: Recipe,
        seed: int,
        device: str,
        distillation: Distillation | None = None,
    ) -> None:
        self.model: nn.Module = model.to(device).eval()
        self._layout = lay_out(self.model, splits.example().to(device))
        self.steps = steps_of(recipe, splits)
        self.done = 0
        self._splits = splits
        self._recipe = recipe
        self._device = torch.device(device)
        self._distillation = distillation
        self._seed = seed
        self._generator = torch.Generator().manual_seed(seed)
        self._order = torch.empty(0, dtype=torch.int64)
        self._descent = Descent(model, recipe, self.steps) if self.steps else None

    def advance(self, step: int, progress: Progress | None = None) -> None:
        """Train until ``step`` steps are taken; ``progress`` hears after each its number, ``step`` and the loss."""
        if self._descent is None or self.done >= step:
            return
        # What draws from torch's own generator, as dropout does, must not depend on what was done in a pause.
        seed_everything((self._seed + self.done) % 2**32)
        self.model.train()
        with hooked(contiguous_where_narrow(self.model)):
            while self.done < step:
                loss = self._loss(self._next_batch())
                self._descent.step(loss)
                self.done += 1
                if progress is not None:
                    progress(self.done, step, loss.item())
        # Many networks may wait for their turn at once.
        self.model.zero_grad(set_to_none=True)
        self.model.eval()

    def _next_batch(self) -> Split:
        size = self._recipe.batch_size
        if len(self._order) < size:
            self._order = torch.randperm(len(self._splits.train.labels), generator=self._generator)
        batch, self._order = self._splits.train.take(self._order[:size]), self._order[size:]
        return batch

    def _loss(self, batch: Split) -> Tensor:
        images = self._splits.normalize(augment(batch.images, self._recipe, self._generator))
        images = self._layout(images.to(self._device))
        labels = batch.labels.to(self._device)
        return batch_loss(self.model, images, labels, self._distillation, bf16=self._recipe.bf16)


def batch_loss(
    model: nn.Module, images: Tensor, labels: Tensor, distillation: Distillation | None, *, bf16: bool
) -> Tensor:
    """Return the loss of a batch, a scalar: cross-entropy, or what else there is to learn from beside.

    Args:
        model: in train mode.
        images: its inputs, on its device.
        labels: their classes, there as well.
        distillation: what it learns from beside labels.
        bf16: compute in bfloat16.
    """
    with mixed_precision(images.device, bf16):
        outputs = model(images)
        loss = cross_entropy(outputs, labels)
        return loss if distillation is None else distillation(images, outputs, loss)


def steps_of(recipe: Recipe, splits: Splits) -> int:
    """Return how many steps a recipe takes."""
    return round(recipe.epochs * (len(splits.train.labels) // recipe.batch_size))


def fit(
    model: nn.Module,
    splits: Splits,
    recipe: Recipe,
    seed: int,
    device: str,
    progress: Progress | None = None,
    distillation: Distillation | None = None,
) -> None:
    """Train ``model`` in place and leave it in eval mode.

    Args:
        model: the network; it is moved to ``device``.
        splits: ``train`` is read, nothing else.
        recipe: how.
        seed: fixes order and augmentation.
        device: a torch device name.
        progress: called after every step with the step, the number of steps and the loss.
        distillation: what it learns from beside labels; none for cross-entropy alone.
    """
    fitting = Fitting(model, splits, recipe, seed, device, distillation)
    fitting.advance(fitting.steps, progress)
