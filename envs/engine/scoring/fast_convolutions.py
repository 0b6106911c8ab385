"""Convolutions of a network that is only scored, as oneDNN runs them best: its operators, which inductor calls, too.

Eager mode lays a convolution's weights out anew in every pass, and writes what the convolution returns before the
activation reads it and writes it again. Here weights are laid out once, the activation is applied while outputs are
written, and pointwise convolutions are matrix products where these are faster. Compiling does the first two as well,
but takes longer than scoring does, and again for every candidate.
"""

import threading
from collections.abc import Collection, Mapping, Sequence
from functools import cache
from itertools import product
from typing import NamedTuple

import torch
from torch import fx, nn

from envs.engine.network.isolation import copy_structure, random_state_kept
from envs.engine.scoring.packed_convolution import FUSABLE, ActivatesOnce, Kernels, PackedConv2d

FLAGS = frozenset({bool, str, type(None)})
"""Attributes that code branches by; numbers differ with what is pruned."""
Structure = tuple[tuple[str, type[nn.Module], tuple[tuple[str, object], ...]], ...]


class Pair(NamedTuple):
    """Names of a convolution, of the activation that alone reads it, and of modules between that pass it on."""

    convolution: str
    activation: str
    between: tuple[str, ...]


class MarkedReLU(ActivatesOnce, nn.ReLU):
    """A ReLU behind convolutions, some of which are fused."""


class MarkedReLU6(ActivatesOnce, nn.ReLU6):
    """A ReLU6 behind convolutions, some of which are fused."""


MARKED: Mapping[type[nn.Module], type[nn.Module]] = {nn.ReLU: MarkedReLU, nn.ReLU6: MarkedReLU6}


class FastConvolutions:
    """Makes networks pruned from one another ready to be scored, looking once at each structure that they have."""

    def __init__(self) -> None:
        """Know no structure yet."""
        self._pairs: dict[Structure, tuple[Pair, ...]] = {}

    def __call__(self, model: nn.Module) -> nn.Module:
        """Return a copy with shared weights that returns the same sooner, or the network where nothing can be gained.

        Threads beside the main one fuse activations only in networks of a structure that that one has looked at before.

        Args:
            model: a network on the host in eval mode, its batch norms folded, to be run in inference mode. Its weights
                must not change any more.
        """
        if not onednn_takes_over():
            return model
        plain = {name for name, module in model.named_modules() if _is_plain_convolution(module)}
        if not plain:
            return model
        pairs = [pair for pair in self._pairs_of(model) if pair.convolution in plain and _activates(model, pair)]
        return _packed(model, plain, pairs)

    def _pairs_of(self, model: nn.Module) -> tuple[Pair, ...]:
        structure = structure_of(model)
        # Following a network replaces torch's module calls for all threads: never beside others that run networks.
        if structure not in self._pairs and threading.current_thread() is threading.main_thread():
            self._pairs[structure] = fusable_pairs(model)
        return self._pairs.get(structure, ())


def structure_of(model: nn.Module) -> Structure:
    """Return what decides in which order a network calls its modules: their names, types, and flags."""
    return tuple(
        (name, type(module), tuple((key, value) for key, value in vars(module).items() if type(value) in FLAGS))
        for name, module in model.named_modules()
    )


def fusable_pairs(model: nn.Module) -> tuple[Pair, ...]:
    """Return the convolutions that an activation alone reads, whenever they are called.

    Networks whose code ``torch.fx`` cannot follow have none.
    """
    network = copy_structure(model)  # the user's forward may keep what it is called with
    with random_state_kept():
        try:
            graph = fx.symbolic_trace(network).graph
        except Exception:  # whatever the user's forward makes of tensors without values
            return ()
    modules = dict(network.named_modules())
    calls: dict[str, list[Pair | None]] = {}
    for node in graph.nodes:
        if node.op == "call_module" and type(modules[str(node.target)]) is nn.Conv2d:
            calls.setdefault(str(node.target), []).append(_pair(node, modules))
    return tuple(found[0] for found in calls.values() if found[0] is not None and len(set(found)) == 1)


def _pair(convolution: fx.Node, modules: Mapping[str, nn.Module]) -> Pair | None:
    between: list[str] = []
    node = convolution
    while len(node.users) == 1:
        (node,) = node.users
        kind = type(modules[str(node.target)]) if node.op == "call_module" else None
        if kind in FUSABLE:
            return Pair(str(convolution.target), str(node.target), tuple(between))
        if kind is not nn.Identity:
            break
        between.append(str(node.target))
    return None


def _is_plain_convolution(module: nn.Module) -> bool:
    """Whether it is what torch makes it: no hook, no padding but zeros, and float32."""
    return (
        type(module) is nn.Conv2d
        and module.padding_mode == "zeros"
        and not isinstance(module.padding, str)
        and module.weight.dtype == torch.float32
        and not _is_hooked(module)
    )


def _activates(model: nn.Module, pair: Pair) -> bool:
    return not any(_is_hooked(model.get_submodule(name)) for name in (pair.activation, *pair.between))


def _is_hooked(module: nn.Module) -> bool:
    return bool(module._forward_hooks or module._forward_pre_hooks)


def _packed(model: nn.Module, convolutions: Collection[str], pairs: Sequence[Pair]) -> nn.Module:
    packed = copy_structure(model)
    activations = {pair.convolution: type(model.get_submodule(pair.activation)) for pair in pairs}
    for name in convolutions:
        _pack(packed.get_submodule(name), activations.get(name))
    for pair in pairs:
        packed.get_submodule(pair.activation).__class__ = MARKED[activations[pair.convolution]]
    return packed


def _pack(convolution: nn.Module, activation: type[nn.Module] | None) -> None:
    convolution.__class__ = PackedConv2d
    assert isinstance(convolution, PackedConv2d)  # noqa: S101  what it was made
    convolution.activation, convolution.kernels = activation, Kernels()


@cache
def onednn_takes_over() -> bool:
    """Whether this torch has the operators, which are not public, and they do what is expected of them."""
    images = torch.linspace(-9, 9, 100).view(2, 2, 5, 5).contiguous(memory_format=torch.channels_last)
    # Weights are drawn: no search may draw otherwise for having been the first to ask.
    with random_state_kept(), torch.inference_mode(), torch.autocast("cpu", enabled=False):
        for size, activation in product((1, 3), (None, *FUSABLE)):
            convolution = nn.Conv2d(2, 3, size, padding=size // 2)
            plain = activation()(convolution(images)) if activation else convolution(images)
            _pack(convolution, activation)
            try:
                found = convolution(images)
            except (AttributeError, RuntimeError, TypeError):  # not there, not for this processor, called otherwise
                return False
            if not torch.allclose(found, plain, atol=1e-4):
                return False
    return True
