"""Keep what the engine tries on a network from showing anywhere else."""

import copy
import random
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import nn

from envs.engine.errors import GraphError, first_line
from envs.engine.network.kinds.attention import is_torchs_attention, with_own_heads
from envs.engine.network.plain_layers import computed_tensors, make_plain


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
    """Return a deep copy of ``model`` in eval mode, written so that the engine can make it smaller.

    Outputs are the same. Layers that compute their weight in every pass hold it (:func:`make_plain`), and torch's
    attention goes by the heads that its weights hold (:class:`HeadedAttention`).

    Raises:
        GraphError: the network cannot be copied.
    """
    # What hooks computed of other weights is computed again, and cannot be copied.
    computed: dict[int, Any] = {id(tensor): tensor.detach().clone() for tensor in computed_tensors(model)}
    try:
        copied = copy.deepcopy(model, computed).eval()
    except Exception as error:  # whatever the user's __deepcopy__ raises
        raise GraphError(f"cannot copy {type(model).__name__}: {first_line(error)}") from error
    make_plain(copied)
    for module in copied.modules():
        if isinstance(module, nn.MultiheadAttention) and is_torchs_attention(module):
            with_own_heads(module)
    return copied


def copy_structure(model: nn.Module) -> nn.Module:
    """Copy a network's modules but share its tensors: cheap, and safe as long as tensors are replaced, not changed."""
    return copy.deepcopy(model, {id(tensor): tensor for tensor in chain(model.parameters(), model.buffers())})
