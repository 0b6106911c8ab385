"""Learning from another network's outputs: the pruned network imitates the dense one that it was cut from."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import kl_div, log_softmax

from envs.engine.network.calls import Inputs, forward


def divergence(outputs: Tensor, taught: Tensor, temperature: float, class_dim: int = 1) -> Tensor:
    """Return the mean KL divergence of softened class probabilities, from those taught, times the temperature squared.

    The square keeps gradients as large as those of cross-entropy at every temperature.

    Args:
        outputs: logits of the network that learns.
        taught: logits of the one that it learns from, in the same shape.
        temperature: logits are divided by it.
        class_dim: the dimension of the classes; the mean is over all others.

    Returns:
        A scalar in float32, nats.

    References:
        Hinton, Vinyals and Dean, 2015, "Distilling the Knowledge in a Neural Network", arXiv 1503.02531.
    """
    learnt, goal = (log_softmax(logits.float() / temperature, class_dim) for logits in (outputs, taught))
    return kl_div(learnt, goal, reduction="none", log_target=True).sum(class_dim).mean() * temperature**2


@dataclass(frozen=True)
class Distillation:
    """What a network learns beside, or instead of, its labels.

    Attributes:
        teacher: the network to imitate, in eval mode on the device of the other.
        weight: of the divergence from its outputs, in [0, 1]; what is left is that of the loss on labels.
        temperature: of both networks' outputs, above 0.
        class_dim: the dimension of the classes in them; none for the last where there are samples and classes only.
        output: picks the logits from what the teacher returns.
    """

    teacher: nn.Module
    weight: float = 0.5
    temperature: float = 2.0
    class_dim: int | None = 1
    output: Callable[[Any], Any] = lambda outputs: outputs

    def __call__(self, inputs: Inputs, outputs: object, supervised: Tensor | None = None) -> Tensor:
        """Return the loss of a batch.

        Args:
            inputs: of the batch; the teacher sees them as the network did, augmented and in the same precision.
            outputs: of the network that learns.
            supervised: its mean loss on labels; without it there is nothing but the teacher.

        Raises:
            ValueError: the outputs are no logits of two or more classes.
        """
        logits, dim = checked_logits(outputs, self.class_dim)
        # Augmented images differ in every epoch, so there is nothing to keep.
        with torch.no_grad():
            taught, _ = checked_logits(self.output(forward(self.teacher, inputs)), self.class_dim)
        loss = divergence(logits, taught, self.temperature, dim)
        return loss if supervised is None else torch.lerp(supervised.float(), loss, self.weight)


def checked_logits(outputs: object, class_dim: int | None) -> tuple[Tensor, int]:
    """Return outputs whose softmax means something, and the dimension of their classes.

    Raises:
        ValueError: they are no tensor of floats, or have no such dimension of two or more classes.
    """
    off = "or distill=0 to learn from labels alone"
    if not isinstance(outputs, Tensor) or not outputs.is_floating_point():
        what = f"a tensor of {outputs.dtype}" if isinstance(outputs, Tensor) else f"a {type(outputs).__name__}"
        raise ValueError(f"distill needs a tensor of logits, the network returns {what}: take another network, {off}")
    shape = tuple(outputs.shape)
    if class_dim is None and len(shape) > 2:
        raise ValueError(
            f"distill: which dimension of {shape} are the classes? Give class_dim=1 for images or class_dim=-1 for "
            f"sequences, {off}"
        )
    dim = -1 if class_dim is None else class_dim
    if not -len(shape) <= dim < len(shape) or shape[dim] < 2:
        raise ValueError(
            f"distill needs logits of two or more classes along dimension {dim}, the network returns {shape}: give "
            f"another class_dim, {off}"
        )
    return outputs, dim
