"""Fine-tuning on a caller's own batches, with or without labels."""

import copy
from collections.abc import Callable, Iterable, Sized
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from amc.api.batches import as_example, as_loader
from amc.config.recipe import Recipe
from amc.training.distillation import Distillation
from amc.training.sgd import Descent, Progress
from envs.engine.network.batches import to_device
from envs.engine.network.calls import Inputs, forward, main_output
from envs.engine.network.hooks import hooked
from envs.engine.network.memory_layout import contiguous_where_narrow
from envs.engine.network.samples import Loss

DISTILL = 0.5
"""How much is learnt from the dense network where labels are class numbers."""


IGNORED = -100
"""Cross-entropy leaves targets of this value out."""


@dataclass(frozen=True)
class Objective:
    """What fine-tuning lowers.

    Attributes:
        teacher: the dense network, in eval mode on the device of the one that is trained.
        loss: ``(outputs, targets) -> mean loss``.
        distill: how much is learnt from the teacher, the rest from targets; none for ``DISTILL`` where the loss is
            cross-entropy, and for nothing where it is one's own. Without targets everything is.
        temperature: of both networks' outputs.
        class_dim: the dimension of the classes in them; none for cross-entropy's, and where the loss is one's own for
            the only one that there is.
        output: picks what loss and divergence go by from what networks return; by default see :func:`picking`.
    """

    teacher: nn.Module
    loss: Loss = cross_entropy
    distill: float | None = None
    temperature: float = 2.0
    class_dim: int | None = None
    output: Callable[[Any], Any] | None = None

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            ValueError: one is out of range.
        """
        if self.distill is not None and not 0 <= self.distill <= 1:
            raise ValueError(
                f"distill={self.distill}: must be from 0 for labels alone to 1 for the dense network alone"
            )
        if not 0 < self.temperature < float("inf"):
            raise ValueError(f"temperature={self.temperature}: must be above 0")

    def __call__(self, outputs: Any, inputs: Inputs, targets: Tensor | None) -> Tensor:  # noqa: ANN401
        """Return the loss of a batch.

        Raises:
            ValueError: there is nothing to learn from, or outputs that it cannot be learnt from.
        """
        pick = self.output or main_output
        supervised = None if targets is None else picking(self.loss, self.output)(outputs, targets)
        entropy = targets is not None and self.loss is cross_entropy
        weight = self.distill if self.distill is not None else DISTILL * entropy
        if supervised is not None and weight == 0:
            return supervised
        if self.distill == 0:
            raise ValueError("there are no targets, and distill=0: give pairs (inputs, targets), or leave distill out")
        class_dim = 1 if self.class_dim is None and entropy else self.class_dim
        learn = Distillation(self.teacher, weight, self.temperature, class_dim, pick)
        return learn(inputs, pick(outputs), supervised)


def picking(loss: Loss, output: Callable[[Any], Any] | None) -> Loss:
    """Return a loss that sees what ``output`` picks of a network's outputs.

    By default cross-entropy sees the main output, and a loss of one's own all of them.
    """
    pick = output or (main_output if loss is cross_entropy else None)
    return loss if pick is None else lambda outputs, targets: loss(pick(outputs), targets)


def beside(teacher: nn.Module, student: nn.Module) -> nn.Module:
    """Return the teacher on the device of the other network, a copy where it is on another."""
    places = [next((tensor.device for tensor in network.parameters()), None) for network in (teacher, student)]
    return teacher if places[0] == places[1] else copy.deepcopy(teacher).to(places[1])


def fit_batches(
    model: nn.Module,
    batches: Iterable[Any],
    epochs: int,
    lr: float,
    objective: Objective,
    progress: Progress | None = None,
    like: Inputs | None = None,
) -> None:
    """Train ``model`` in place by SGD, on the device it is on, and leave it in eval mode.

    Args:
        model: the network; its masks stay.
        batches: a list or data loader, gone through once an epoch; see :func:`as_example` for what they may be.
        epochs: how often.
        lr: the highest learning rate; it rises over the first tenth of all steps and falls to zero on a cosine.
        objective: what is lowered.
        progress: called after every step with the step, the number of steps and the loss.
        like: the example input, where that is known.

    Raises:
        ValueError: an argument is out of range, batches are not what they should be, or training diverged.
    """
    batches = as_loader("batches", batches)
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
    with torch.enable_grad(), hooked(contiguous_where_narrow(model)):
        for _ in range(epochs):
            for number, batch in enumerate(batches):
                value = _loss(model, as_example("batches", number, batch, like), number, objective)
                if not value.isfinite():
                    raise ValueError(f"the loss of batch {number} is {value.item()}: try a lower lr than {lr}")
                descent.step(value)
                step += 1
                if progress is not None:
                    progress(step, steps, value.item())
    if not all(tensor.isfinite().all() for tensor in model.state_dict().values()):
        raise ValueError(f"fine-tuning left weights that are no numbers: try a lower lr than {lr}")
    model.eval()


def _number_of(batches: Iterable[Any]) -> int:
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


def _loss(model: nn.Module, example: tuple[Inputs, Tensor | None], number: int, objective: Objective) -> Tensor:
    device = next(parameter.device for parameter in model.parameters())
    inputs, targets = to_device(example[0], device), example[1]
    outputs = forward(model, inputs)
    if objective.loss is cross_entropy and targets is not None:
        picked = (objective.output or main_output)(outputs)
        if isinstance(picked, Tensor):
            _check_labels(targets, picked, number)
    return objective(outputs, inputs, None if targets is None else targets.to(device))


def _check_labels(targets: Tensor, outputs: Tensor, number: int) -> None:
    """Refuse class numbers that the network does not know; those that cross-entropy ignores are none."""
    if targets.is_floating_point() or not targets.numel():
        return
    known = targets[targets != IGNORED]
    classes = outputs.shape[1] if outputs.ndim > 1 else len(outputs)
    low, high = (int(known.min()), int(known.max())) if known.numel() else (0, 0)
    if not 0 <= low <= high < classes:
        raise ValueError(f"batch {number} has labels from {low} to {high}: the network knows {classes} classes")
