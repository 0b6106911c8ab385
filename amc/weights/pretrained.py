"""Pruned networks of Hugging Face in the form that ``from_pretrained`` reads, where their configuration can say it.

A configuration has one number for all layers. Which sizes a number stands for is found by experiment: the class is
built anew, without memory, with another number.
"""

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from amc.errors import ModelError, StorageError
from envs.engine.errors import first_line
from envs.engine.network.plain_layers import is_made_plain
from envs.engine.surgery.full_width import places_of

SIZES = (
    *("intermediate_size", "ffn_dim", "encoder_ffn_dim", "decoder_ffn_dim", "hidden_dim", "d_ff", "n_inner"),
    *("num_key_value_heads", "num_attention_heads"),
)
"""Numbers in configurations that pruning changes; key and value heads first, which divide the others."""
HEADS = "num_attention_heads"
INSTEAD = "amc.load brings it back from what result.save wrote"
Shapes = dict[str, tuple[int, ...]]


class _Axis(NamedTuple):
    """Where a number of the configuration shows: an axis of a parameter."""

    parameter: str
    number: int


def save_pretrained(model: nn.Module, folder: str | Path) -> Path:
    """Write a pruned network of Hugging Face so that ``from_pretrained(folder)`` of its class reads it.

    The configuration gets the smaller numbers (``intermediate_size``, ``num_attention_heads``,
    ``num_key_value_heads``, ...), which takes equal sizes in all layers, as ``policy="uniform"`` leaves them.

    Args:
        model: the pruned network, such as ``result.model``; it is not changed.
        folder: where to write ``config.json`` and the weights.

    Returns:
        The folder.

    Raises:
        ModelError: it is no network of Hugging Face, or its configuration cannot say what it is.
        StorageError: the folder cannot be written.
    """
    network: Any = model
    if not callable(getattr(network, "save_pretrained", None)) or not hasattr(network, "config"):
        raise ModelError(f"a {type(model).__name__} has no configuration for from_pretrained; {INSTEAD}")
    if is_made_plain(model) or places_of(model):
        raise ModelError(f"{type(model).__name__} has layers that its class does not have; {INSTEAD}")
    described = copy.copy(network)  # of the module alone: it shares all layers
    described.config = smaller_config(network)
    try:
        described.save_pretrained(folder)
    except OSError as error:
        raise StorageError(f"cannot write {folder}: {first_line(error)}") from error
    return Path(folder)


def smaller_config(network: Any) -> Any:  # noqa: ANN401  a network and a configuration of transformers
    """Return the configuration of a pruned network.

    Args:
        network: with the dense network's configuration.

    Raises:
        ModelError: there is none.
    """
    small: Shapes = {name: tuple(parameter.shape) for name, parameter in network.named_parameters()}
    dense, config = _shapes(network, network.config), network.config
    if dense.keys() != small.keys():
        raise ModelError(f"{type(network).__name__} has other layers than its class, as where blocks went; {INSTEAD}")
    for name in SIZES:
        old = getattr(network.config, name, None)
        if isinstance(old, int) and old > 1:
            new = _number(network, name, old, dense, small)
            config = config if new == old else _with(config, name, new)
    try:
        described = _shapes(network, config)
    except (ValueError, TypeError) as error:  # transformers checks what goes with what
        raise ModelError(f"{type(network).__name__} cannot be configured so: {first_line(error)}; {INSTEAD}") from error
    for name, shape in small.items():
        if described.get(name) != shape:
            raise ModelError(f"{name} is {shape} where its configuration says {described.get(name)}; {INSTEAD}")
    return config


def _number(network: Any, name: str, old: int, dense: Shapes, small: Shapes) -> int:  # noqa: ANN401
    """Return what a number of the configuration has to be for the sizes of the smaller network."""
    found = set()
    for axis in _axes(network, name, old, dense):
        size = dense[axis.parameter][axis.number]
        if size % old == 0:
            found.add(small[axis.parameter][axis.number] / (size // old))
    if not found:  # it says nothing about sizes
        return old
    if len(found) > 1 or not found.copy().pop().is_integer():
        sizes = ", ".join(f"{size:g}" for size in sorted(found))
        raise ModelError(f"{name} would have to be {sizes}: one number is for all layers; {INSTEAD}")
    return int(found.pop())


def _axes(network: Any, name: str, old: int, dense: Shapes) -> Iterator[_Axis]:  # noqa: ANN401
    """Yield the axes that are shorter where a number of the configuration is."""
    for new in [divisor for divisor in range(old // 2, 0, -1) if old % divisor == 0]:
        try:
            probed = _shapes(network, _with(network.config, name, new))
        except (ValueError, TypeError):  # transformers checks what goes with what
            continue
        for parameter, shape in dense.items():
            after = probed.get(parameter, shape)
            yield from (_Axis(parameter, axis) for axis, size in enumerate(shape) if after[axis] != size)
        return


def _with(config: Any, name: str, value: int) -> Any:  # noqa: ANN401  a configuration of transformers
    """Return a configuration with another number; fewer heads are as wide as before."""
    changed = copy.deepcopy(config)
    if name == HEADS and getattr(config, "head_dim", None) is None and hasattr(config, "hidden_size"):
        changed.head_dim = config.hidden_size // config.num_attention_heads
    setattr(changed, name, value)
    return changed


def _shapes(network: Any, config: Any) -> Shapes:  # noqa: ANN401
    """Return the shapes of a network's parameters, built without memory."""
    with torch.device("meta"):
        built = type(network)(copy.deepcopy(config))
    return {name: tuple(parameter.shape) for name, parameter in built.named_parameters()}
