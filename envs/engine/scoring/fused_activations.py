"""Convolutions that apply the activation behind them while they write: oneDNN's, which ``torch.compile`` takes, too.

Eager mode writes what a convolution returns, reads it again for the activation and writes it once more, a quarter of
a small network's time. Compiling joins the two, but takes longer than scoring does, and again for every candidate.
"""

import threading
from collections.abc import Mapping, Sequence
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor, fx, nn

from envs.engine.network.isolation import copy_structure, random_state_kept

FUSABLE: Mapping[type[nn.Module], tuple[str, Sequence[float]]] = {
    nn.ReLU: ("relu", ()),
    nn.ReLU6: ("hardtanh", (0.0, 6.0)),
}
"""Activations by their name and numbers in oneDNN. They only compare: fused or not, they return the same values."""
MARK = "_is_activated"
FLAGS = frozenset({bool, str, type(None)})
"""Attributes that code branches by; numbers differ with what is pruned."""
Structure = tuple[tuple[str, type[nn.Module], tuple[tuple[str, object], ...]], ...]


class Pair(NamedTuple):
    """Names of a convolution, of the activation that alone reads it, and of modules between that pass it on."""

    convolution: str
    activation: str
    between: tuple[str, ...]


class FusedConv2d(nn.Conv2d):
    """A convolution whose outputs are activated, and marked as such.

    Attributes:
        kind: the activation, by its type.
        reduced_weight: in the number format of autocast, if it was on; a buffer, as copies for threads share those.
        reduced_bias: likewise.
    """

    kind: type[nn.Module]
    reduced_weight: Tensor | None
    reduced_bias: Tensor | None

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  torch's name
        """Return activated channels; where gradients may be asked for, those of the convolution, not marked."""
        is_reduced = torch.is_autocast_enabled("cpu")
        weight, bias = (self.reduced_weight, self.reduced_bias) if is_reduced else (self.weight, self.bias)
        if weight is None or input.ndim != 4 or not torch.is_inference_mode_enabled():
            return super().forward(input)
        images = input.to(weight.dtype) if is_reduced else input
        if images.dtype != weight.dtype:
            return super().forward(input)  # which says so
        outputs = _convolve_and_activate(self, images, weight, bias)
        setattr(outputs, MARK, True)
        return outputs


class ActivatesOnce(nn.Module):
    """Lets pass what its convolution has activated."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  torch's name
        """Activate what is not. What is passed on loses its mark: it may be changed in place and activated again."""
        activated: Tensor = input if vars(input).pop(MARK, False) else super().forward(input)
        return activated


class MarkedReLU(ActivatesOnce, nn.ReLU):
    """A ReLU behind convolutions, some of which are fused."""


class MarkedReLU6(ActivatesOnce, nn.ReLU6):
    """A ReLU6 behind convolutions, some of which are fused."""


MARKED: Mapping[type[nn.Module], type[nn.Module]] = {nn.ReLU: MarkedReLU, nn.ReLU6: MarkedReLU6}


class ActivationFusion:
    """Fuses networks pruned from one another, looking once at each structure that they have."""

    def __init__(self) -> None:
        """Know no structure yet."""
        self._pairs: dict[Structure, tuple[Pair, ...]] = {}

    def __call__(self, model: nn.Module) -> nn.Module:
        """Return a copy with shared weights that returns the same sooner, or the network where nothing can be fused.

        Call it in the autocast mode that the network is to run in. Threads beside the main one fuse what that one has
        looked at before.

        Args:
            model: a network on the host in eval mode, its batch norms folded, to be run in inference mode.
        """
        if not onednn_fuses():
            return model
        structure = structure_of(model)
        if structure not in self._pairs:
            # Following a network replaces torch's module calls for all threads: never beside others that run networks.
            if threading.current_thread() is not threading.main_thread():
                return model
            self._pairs[structure] = fusable_pairs(model)
        pairs = [pair for pair in self._pairs[structure] if _is_plain(model, pair)]
        return _fused(model, pairs) if pairs else model


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


def _is_plain(model: nn.Module, pair: Pair) -> bool:
    """Whether all three are what torch makes them: no hook, no padding but zeros, and float32."""
    convolution = model.get_submodule(pair.convolution)
    modules = [convolution, model.get_submodule(pair.activation), *map(model.get_submodule, pair.between)]
    return (
        isinstance(convolution, nn.Conv2d)
        and convolution.padding_mode == "zeros"
        and not isinstance(convolution.padding, str)
        and convolution.weight.dtype == torch.float32
        and not any(module._forward_hooks or module._forward_pre_hooks for module in modules)
    )


def _fused(model: nn.Module, pairs: Sequence[Pair]) -> nn.Module:
    fused = copy_structure(model)
    dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else None
    for pair in pairs:
        kind = type(model.get_submodule(pair.activation))
        convolution = fused.get_submodule(pair.convolution)
        convolution.__class__ = FusedConv2d
        assert isinstance(convolution, FusedConv2d)  # noqa: S101  what it was made
        convolution.kind = kind
        for name, tensor in (("weight", convolution.weight), ("bias", convolution.bias)):
            reduced = None if dtype is None or tensor is None else tensor.detach().to(dtype)
            convolution.register_buffer(f"reduced_{name}", reduced, persistent=False)
        fused.get_submodule(pair.activation).__class__ = MARKED[kind]
    return fused


def _convolve_and_activate(convolution: FusedConv2d, images: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    name, numbers = FUSABLE[convolution.kind]
    outputs: Tensor = torch.ops.mkldnn._convolution_pointwise(
        images,
        weight,
        bias,
        convolution.padding,
        convolution.stride,
        convolution.dilation,
        convolution.groups,
        name,
        numbers,
        "",
    )
    return outputs


@cache
def onednn_fuses() -> bool:
    """Whether this torch has the operator, which is not public, and it does what is expected of it."""
    weight = torch.linspace(-1, 1, 54).view(3, 2, 3, 3)
    images = torch.linspace(-9, 9, 50).view(1, 2, 5, 5)
    convolution = FusedConv2d(2, 3, 3, padding=1, bias=False)
    with torch.inference_mode(), torch.autocast("cpu", enabled=False):
        plain = nn.functional.conv2d(images, weight, padding=1)
        for kind in FUSABLE:
            convolution.kind = kind
            try:
                found = _convolve_and_activate(convolution, images, weight, None)
            except (AttributeError, RuntimeError, TypeError):  # not there, not for this processor, called otherwise
                return False
            if not torch.allclose(found, kind()(plain), atol=1e-4):
                return False
    return True
