"""Whether a device computes, by its name."""

import torch

from envs.engine.network.isolation import first_line


def usable_device(name: str | torch.device) -> torch.device:
    """Return a device once it has computed and been read.

    Raises:
        ValueError: there is no such device here, or it holds no values, as ``meta`` does.
    """
    try:
        number = torch.ones(1, device=name)
        if number.item() != 1.0:
            raise ValueError("it does not compute")
    except (AssertionError, NotImplementedError, RuntimeError, ValueError) as error:
        raise ValueError(first_line(error)) from error
    return number.device
