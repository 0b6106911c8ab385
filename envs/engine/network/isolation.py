"""Keep what the engine tries on a network from showing anywhere else."""

import copy
import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from envs.engine.errors import GraphError, first_line
from envs.engine.network.kinds.attention import is_torchs_attention, with_own_heads


@contextmanager
def random_state_kept() -> Iterator[None]:
    """Leave the random states of Python, NumPy and torch, on all devices, as they were before the block."""
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002  the user's forward may use it
    try:
        devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
        with torch.random.fork_rng(devices=list(devices)):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002


def copy_network(model: nn.Module) -> nn.Module:
    """Return a deep copy of ``model`` in eval mode, with heads that can go (:class:`HeadedAttention`).

    Raises:
        GraphError: the network cannot be copied.
    """
    try:
        copied = copy.deepcopy(model).eval()
    except Exception as error:  # whatever the user's __deepcopy__ raises
        name = _computed_weight(model)
        if name is not None:
            raise GraphError(
                f"{name} has a weight computed by a hook (weight_norm, spectral_norm): call "
                "torch.nn.utils.remove_weight_norm first, or use torch.nn.utils.parametrizations"
            ) from error
        raise GraphError(f"cannot copy {type(model).__name__}: {first_line(error)}") from error
    for module in copied.modules():
        if isinstance(module, nn.MultiheadAttention) and is_torchs_attention(module):
            with_own_heads(module)
    return copied


def _computed_weight(model: nn.Module) -> str | None:
    """Return the first module whose weight is the result of a computation and no parameter."""
    for name, module in model.named_modules():
        if any(isinstance(value, Tensor) and value.grad_fn is not None for value in vars(module).values()):
            return name
    return None
