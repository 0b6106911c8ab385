"""Keep what the engine tries on a network from showing anywhere else."""

import copy
import random
from collections import OrderedDict
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

ATOMS = frozenset({bool, int, float, str, type(None)})
CONTAINERS = frozenset({dict, OrderedDict, set, list})
TENSORS_AND_MODULES = frozenset({"_parameters", "_buffers", "_modules"})
"""Attributes of every module, in dictionaries of their own."""
COMPILED = "_compiled_call_impl"
"""What ``torch.compile`` leaves with a module, which no copy of it has."""


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


def copy_modules(model: nn.Module, known: dict[int, Any] | None = None) -> nn.Module:
    """Do what ``copy.deepcopy`` does, in a fraction of its time: a network is mostly small dictionaries that are empty.

    Args:
        model: the network, which is not touched.
        known: copies that there are already, by identity of what they are copies of; more are added.

    Raises:
        Exception: whatever the user's ``__deepcopy__`` raises.
    """
    known = {} if known is None else known
    plain = [module for module in model.modules() if _copied_by_attributes(module) and id(module) not in known]
    known.update({id(module): type(module).__new__(type(module)) for module in plain})
    for module in plain:
        attributes = {name: value for name, value in vars(module).items() if name != COMPILED}
        vars(known[id(module)]).update({name: _copy_of(name, value, known) for name, value in attributes.items()})
    copied: nn.Module = copy.deepcopy(model, known)
    return copied


def _copied_by_attributes(module: nn.Module) -> bool:
    """Whether nothing but a module's attributes makes it, as far as ``copy.deepcopy`` is concerned."""
    kind: Any = type(module)
    if hasattr(kind, "__deepcopy__") or "__deepcopy__" in vars(module) or isinstance(module, nn.RNNBase):
        return False
    module_class: Any = nn.Module
    names = ("__reduce__", "__reduce_ex__", "__getstate__")
    # What torch's layers have for setting their state adds what layers of earlier versions lack.
    of_torch = kind.__setstate__.__module__.startswith("torch.nn.modules.")
    return of_torch and all(getattr(kind, name) == getattr(module_class, name) for name in names)


def _copy_of(name: str, value: Any, known: dict[int, Any]) -> Any:  # noqa: ANN401  an attribute of any module
    if type(value) in ATOMS:
        return value
    if name in TENSORS_AND_MODULES:
        return type(value)((key, copy.deepcopy(each, known)) for key, each in value.items())
    if type(value) in CONTAINERS and not value:  # also one that several modules hold
        return known.setdefault(id(value), value.copy())
    return copy.deepcopy(value, known)


def copy_network(model: nn.Module, share: bool = False) -> nn.Module:
    """Return a deep copy of ``model`` in eval mode, written so that the engine can make it smaller.

    Outputs are the same. Layers that compute their weight in every pass hold it (:func:`make_plain`), and torch's
    attention goes by the heads that its weights hold (:class:`HeadedAttention`).

    Args:
        model: the network, which is not touched.
        share: whether the copy's parameters, which have gradients of their own, hold the memory of the model's. They
            must not be changed in place.

    Raises:
        GraphError: the network cannot be copied.
    """
    # What hooks computed of other weights is computed again, and cannot be copied.
    known: dict[int, Any] = {id(tensor): tensor.detach().clone() for tensor in computed_tensors(model)}
    if share:
        plain = (each for each in model.parameters() if type(each) is nn.Parameter)
        known |= {id(each): nn.Parameter(each.detach(), requires_grad=each.requires_grad) for each in plain}
    try:
        copied = copy_modules(model, known).eval()
    except Exception as error:  # whatever the user's __deepcopy__ raises
        raise GraphError(f"cannot copy {type(model).__name__}: {first_line(error)}") from error
    make_plain(copied)
    for module in copied.modules():
        if isinstance(module, nn.MultiheadAttention) and is_torchs_attention(module):
            with_own_heads(module)
    return copied


def copy_structure(model: nn.Module) -> nn.Module:
    """Copy a network's modules but share its tensors: cheap, and safe as long as tensors are replaced, not changed."""
    return copy_modules(model, {id(tensor): tensor for tensor in chain(model.parameters(), model.buffers())})
