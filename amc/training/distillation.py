"""Learning from another network's outputs: the pruned network imitates the dense one that it was cut from."""

from dataclasses import dataclass

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
        class_dim: the dimension of the classes in them.
    """

    teacher: nn.Module
    weight: float = 0.5
    temperature: float = 2.0
    class_dim: int = 1

    def __call__(self, inputs: Inputs, outputs: Tensor, supervised: Tensor | None = None) -> Tensor:
        """Return the loss of a batch.

        Args:
            inputs: of the batch; the teacher sees them as the network did, augmented and in the same precision.
            outputs: of the network that learns.
            supervised: its mean loss on labels; without it there is nothing but the teacher.

        Raises:
            ValueError: the outputs are no logits of two or more classes.
        """
        with torch.no_grad():
            taught = forward(self.teacher, inputs)
        check_logits(taught, self.class_dim)
        loss = divergence(outputs, taught, self.temperature, self.class_dim)
        return loss if supervised is None else torch.lerp(supervised.float(), loss, self.weight)


def check_logits(outputs: object, class_dim: int) -> None:
    """Refuse outputs whose softmax means nothing.

    Raises:
        ValueError: they are no tensor of floats, or have no dimension of two or more classes.
    """
    if not isinstance(outputs, Tensor) or not outputs.is_floating_point():
        what = f"a tensor of {outputs.dtype}" if isinstance(outputs, Tensor) else f"a {type(outputs).__name__}"
        raise ValueError(f"distill needs logits, the network returns {what}: distill=0 learns from labels alone")
    shape = tuple(outputs.shape)
    if not -len(shape) <= class_dim < len(shape) or shape[class_dim] < 2:
        raise ValueError(
            f"distill needs logits of two or more classes along class_dim={class_dim}, the network returns "
            f"{shape}: give another class_dim, or distill=0 to learn from labels alone"
        )
