"""Does a network take the data's images, and answer with a number for each class?"""

import torch
from torch import Tensor, nn

from envs.engine.errors import first_line
from envs.engine.network.isolation import random_state_kept


def fault(network: nn.Module, image: Tensor, num_classes: int) -> str:
    """Return what is wrong with a network, or nothing; it is left as it was.

    Args:
        network: the network, on the CPU.
        image: one normalised image, ``(1, c, h, w)``.
        num_classes: number of classes.
    """
    modes = [(module, module.training) for module in network.modules()]
    try:
        with torch.no_grad(), random_state_kept():
            output = network.eval()(image)
    except Exception as error:  # whatever the network's forward raises
        return f"fails on images of {list(image.shape[1:])}: {first_line(error)}"
    finally:
        for module, training in modes:
            module.training = training
    if not isinstance(output, Tensor):
        return f"returns a {type(output).__name__} in eval mode, not one tensor of class scores"
    if output.shape != (len(image), num_classes):
        return (
            f"returns {list(output.shape)} for {len(image)} image of {num_classes} classes: a score a class is needed"
        )
    return ""
