"""Marks in the channels of a layer's output, and who reads them: one forward pass of ``nan_probing``.

A mark is NaN. A pass computes next to nothing: a layer whose channels are followed returns the output recorded when
the network ran unmarked, whatever it reads, since marks end where they are read. What runs is the code between layers.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from envs.engine.network.calls import Call, Inputs, flatten_outputs, forward
from envs.engine.network.channels import ChannelDim, Side
from envs.engine.network.hooks import hooked
from envs.engine.network.modules import channel_axis_of, channel_dims_of, multiplier_of

NAN = float("nan")
RECORD_BYTES = 1 << 30
"""Layers whose outputs do not fit in here are computed anew in every pass."""


class PassIsOver(BaseException):
    """The last reader has read. No ``Exception``, so that no handler inside the network swallows it."""


@dataclass
class NanProbe:
    """What one forward pass marks and sees.

    Attributes:
        source: the layer whose output is marked.
        channels: the channels that are marked.
        last: the reader behind which the pass may end; none where it has to go to its end.
        recorded: the layers that return their recorded output.
        begun: whether the source was called.
        seen: for every channel dimension that is read, which of its channels were marked.
        stops: modules with parameters that cannot be made smaller and read a marked channel.
    """

    source: str = ""
    channels: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.bool))
    last: str = ""
    recorded: frozenset[str] = frozenset()
    begun: bool = False
    seen: dict[ChannelDim, Tensor] = field(default_factory=dict)
    stops: list[str] = field(default_factory=list)

    def run(self, model: nn.Module, inputs: Inputs, channels: Tensor) -> bool:
        """Mark channels of the source, and return whether marks reach the network's output."""
        self.channels, self.begun, self.seen, self.stops = channels, False, {}, []
        try:
            outputs = flatten_outputs(forward(model, inputs))
        except PassIsOver:
            return False
        return any(bool(output.isnan().any()) for output in outputs if output.is_floating_point())

    def read(self, dim: ChannelDim, multiplier: int, tensor: Tensor, axis: int) -> Tensor | None:
        """Note which channels of a layer's input are marked, and return them, ``None`` for none."""
        marked = tensor.isnan()
        if not bool(marked.any()):
            return None
        marks = marked.movedim(axis, 0).flatten(1).any(1).cpu().repeat_interleave(multiplier)
        self.seen[dim] = self.seen[dim] | marks if dim in self.seen else marks
        return marks


@contextmanager
def nan_probe(model: nn.Module, inputs: Inputs, calls: Mapping[str, Call]) -> Iterator[NanProbe]:
    """Have the layers of a network mark and read.

    Args:
        model: the network in eval mode.
        inputs: its example input.
        calls: how its modules are called on it.
    """
    outputs = _record(model, inputs, calls)
    probe = NanProbe(recorded=frozenset(outputs))
    layers = {name: tuple(channel_dims_of(name, module)) for name, module in model.named_modules() if name in calls}
    replays = {
        model.get_submodule(name): partial(_replay, probe, model.get_submodule(name), layers[name], output)
        for name, output in outputs.items()
    }
    with _forwards_replaced(replays), hooked(_listen(probe, model, layers)):
        yield probe


def _listen(
    probe: NanProbe, model: nn.Module, layers: Mapping[str, tuple[ChannelDim, ...]]
) -> Iterator[RemovableHandle]:
    """Hook all modules that do not return a recorded output."""
    for name, module in model.named_modules():
        dims = layers.get(name, ())
        if name in probe.recorded:
            continue
        if dims:
            yield module.register_forward_pre_hook(partial(_read, probe, dims))
            yield module.register_forward_hook(partial(_mark, probe, dims))
        elif any(True for _ in module.parameters(recurse=False)):
            yield module.register_forward_pre_hook(partial(_stop, probe, name), with_kwargs=True)


@contextmanager
def _forwards_replaced(forwards: Mapping[nn.Module, Callable[..., Any]]) -> Iterator[None]:
    """Give modules another forward inside the block."""
    before = {module: vars(module).get("forward") for module in forwards}
    try:
        for module, replacement in forwards.items():
            vars(module)["forward"] = replacement
        yield
    finally:
        for module, own in before.items():
            vars(module).pop("forward", None)
            if own is not None:
                vars(module)["forward"] = own


def _record(model: nn.Module, inputs: Inputs, calls: Mapping[str, Call]) -> dict[str, Tensor]:
    """Return the outputs of the layers whose channels are followed, of those that are called once with a tensor."""
    outputs: dict[str, Tensor] = {}
    room = RECORD_BYTES

    def hook(name: str, output: Any) -> None:  # noqa: ANN401  whatever a layer returns
        nonlocal room
        if isinstance(output, Tensor) and output.nbytes <= room:
            room -= output.nbytes
            outputs[name] = output.clone()  # what follows may change it in place

    handles = (
        module.register_forward_hook(lambda _, __, output, name=name: hook(name, output))
        for name, module in model.named_modules()
        if name in calls and calls[name].count == 1 and calls[name].inputs and channel_dims_of(name, module)
    )
    with hooked(handles):
        forward(model, inputs)
    return outputs


def _replay(
    probe: NanProbe,
    module: nn.Module,
    dims: tuple[ChannelDim, ...],
    output: Tensor,
    *args: Any,  # noqa: ANN401  whatever a layer is called with
    **_: Any,  # noqa: ANN401
) -> Tensor:
    """Stand in for a layer's forward."""
    name, recorded = dims[0][0], output.clone()
    if name == probe.source:
        probe.begun = True
        return _with_nan(module, recorded, probe.channels)
    reading = _reading(dims)
    if not probe.begun or reading is None:
        return recorded
    marks = probe.read(reading, multiplier_of(module), args[0], channel_axis_of(module, args[0]))
    if name == probe.last:
        raise PassIsOver
    return recorded if marks is None or reading[1] is not Side.BOTH else _with_nan(module, recorded, marks)


def _read(probe: NanProbe, dims: tuple[ChannelDim, ...], module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
    """Note which channels of a layer's input are marked, and take the marks away."""
    reading = _reading(dims)
    if reading is None or not args or not isinstance(args[0], Tensor):
        return args
    marks = probe.read(reading, multiplier_of(module), args[0], channel_axis_of(module, args[0]))
    return args if marks is None else (args[0].nan_to_num(0.0), *args[1:])


def _mark(probe: NanProbe, dims: tuple[ChannelDim, ...], module: nn.Module, _: tuple[Any, ...], output: Any) -> Any:  # noqa: ANN401
    if dims[0][0] == probe.source:
        probe.begun = True
        return _with_nan(module, output, probe.channels)
    marks = probe.seen.get((dims[0][0], Side.BOTH))
    return output if marks is None else _with_nan(module, output, marks)


def _stop(probe: NanProbe, name: str, _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:  # noqa: ANN401
    """Note that a module with parameters reads marked channels, and take the marks away."""

    def clean(value: Any) -> Any:  # noqa: ANN401
        if not isinstance(value, Tensor) or not value.is_floating_point() or not bool(value.isnan().any()):
            return value
        probe.stops.append(name)
        return value.nan_to_num(0.0)

    return tuple(clean(value) for value in args), {key: clean(value) for key, value in kwargs.items()}


def _reading(dims: tuple[ChannelDim, ...]) -> ChannelDim | None:
    """Return the channel dimension of a module that is read; an embedding has none."""
    return next((dim for dim in dims if dim[1] is not Side.OUT), None)


def _with_nan(module: nn.Module, output: Tensor, channels: Tensor) -> Tensor:
    index = channels.nonzero().flatten().to(output.device)
    return output.index_fill(channel_axis_of(module, output), index, NAN)
