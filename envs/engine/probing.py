"""Which channels go together, found by experiment: NaN is put into channels and looked for where they are read.

This needs no graph, so it works for any code, whatever views, permutations and loops lie between a layer that writes
channels and those that read them. NaN survives arithmetic, and spreads to all that a channel has a say in.

A layer's channels are numbered in binary. For every digit two forward passes mark the channels that have a one there,
and those that have a zero. A channel that a reader reads has, for every digit, the value under which its mark
arrived. Where several arrive, for both values of a digit, all channels that fit the other digits are taken to be read
together: more may be tied than has to be, never less. A layer with n channels takes 2 log2(n) forward passes.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from envs.engine.calls import Call, Inputs, flatten_outputs, forward
from envs.engine.channels import ChannelTies, Place, Side
from envs.engine.modules import Convolution, multiplier_of, places_of

NAN = float("nan")


@dataclass
class Probe:
    """What one forward pass marks and sees.

    Attributes:
        source: the layer whose output is marked.
        channels: the channels that are marked.
        seen: for every place that reads, which of its channels were marked.
        stops: modules with parameters that cannot be made smaller and read a marked channel.
        output: whether the network's output was reached.
    """

    source: str = ""
    channels: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.bool))
    seen: dict[Place, Tensor] = field(default_factory=dict)
    stops: list[str] = field(default_factory=list)
    output: bool = False


def count_passes(ties: ChannelTies) -> int:
    """Return how many forward passes :func:`tie_by_probing` takes."""
    return sum(2 * _digits(width) for (_, side), width in ties.widths.items() if side is Side.OUT)


def _digits(width: int) -> int:
    return max(1, (width - 1).bit_length())


def tie_by_probing(ties: ChannelTies, model: nn.Module, inputs: Inputs, calls: dict[str, Call]) -> None:
    """Tie channels that are read together, in place.

    Args:
        ties: the channels of all places.
        model: the network in eval mode.
        inputs: its example input.
        calls: how its leaf modules are called on it.
    """
    sources = [place for place in ties.widths if place[1] is Side.OUT]
    probe = Probe()
    with torch.no_grad(), _probed(model, probe, calls):
        for source in sorted(sources, key=lambda place: calls[place[0]].order):
            _tie_readers(ties, source, model, inputs, probe)


def _tie_readers(ties: ChannelTies, source: Place, model: nn.Module, inputs: Inputs, probe: Probe) -> None:
    width = ties.widths[source]
    numbers = torch.arange(width)
    fits: dict[Place, Tensor] = {}
    reached, stops = False, set()
    for digit in range(_digits(width)):
        ones = (numbers >> digit & 1).bool()
        passes = []
        for channels in (ones, ~ones):
            probe.source, probe.channels, probe.seen, probe.stops = source[0], channels, {}, []
            probe.output = any(
                bool(t.isnan().any()) for t in flatten_outputs(forward(model, inputs)) if t.is_floating_point()
            )
            reached = reached or probe.output
            stops.update(probe.stops)
            passes.append(probe.seen)
        for place in passes[0].keys() | passes[1].keys():
            nothing = torch.zeros(ties.widths[place], dtype=torch.bool)
            one, zero = (seen.get(place, nothing) for seen in passes)
            fit = torch.where(ones.unsqueeze(1), one, zero)
            fits[place] = fits[place] & fit if place in fits else fit
    for place, fit in fits.items():
        for index in fit.any(0).nonzero().flatten().tolist():
            ties.tie([(source, channel) for channel in fit[:, index].nonzero().flatten().tolist()] + [(place, index)])
    for name in sorted(stops):
        ties.freeze(
            source, f"is coupled to {name} ({type(model.get_submodule(name)).__name__}), which cannot be made smaller"
        )
    if reached:
        ties.freeze(source, "is an output of the network")


@contextmanager
def _probed(model: nn.Module, probe: Probe, calls: dict[str, Call]) -> Iterator[None]:
    handles = []
    for name, module in model.named_modules():
        places = places_of(name, module) if name in calls else {}
        sides = {side for _, side in places}
        if sides & {Side.IN, Side.BOTH}:
            handles.append(module.register_forward_pre_hook(partial(_read, probe, name)))
        elif not places and any(True for _ in module.parameters(recurse=False)):
            handles.append(module.register_forward_pre_hook(partial(_stop, probe, name), with_kwargs=True))
        if Side.OUT in sides:
            handles.append(module.register_forward_hook(partial(_mark, probe, name)))
        elif Side.BOTH in sides:
            handles.append(module.register_forward_hook(partial(_pass_on, probe, name)))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _channel_axis(module: nn.Module, tensor: Tensor) -> int:
    if isinstance(module, nn.Linear | nn.Embedding):
        return tensor.ndim - 1
    if isinstance(module, Convolution):
        return tensor.ndim - len(module.kernel_size) - 1  # the batch may be missing
    return min(1, tensor.ndim - 1)


def _read(probe: Probe, name: str, module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
    """Note which channels of a layer's input are marked, and take the marks away."""
    tensor = args[0]
    marks = tensor.isnan().movedim(_channel_axis(module, tensor), 0).flatten(1).any(1).cpu()
    marks = marks.repeat_interleave(multiplier_of(module))
    place = (name, Side.IN if (name, Side.IN) in places_of(name, module) else Side.BOTH)
    if marks.any():
        probe.seen[place] = probe.seen[place] | marks if place in probe.seen else marks
    return (tensor.nan_to_num(0.0), *args[1:])


def _stop(probe: Probe, name: str, _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:  # noqa: ANN401
    """Note that a module with parameters reads marked channels, and take the marks away."""

    def clean(value: Any) -> Any:  # noqa: ANN401
        if not isinstance(value, Tensor) or not value.is_floating_point() or not bool(value.isnan().any()):
            return value
        probe.stops.append(name)
        return value.nan_to_num(0.0)

    return tuple(clean(value) for value in args), {key: clean(value) for key, value in kwargs.items()}


def _mark(probe: Probe, name: str, module: nn.Module, _: tuple[Any, ...], output: Tensor) -> Tensor:
    if name != probe.source:
        return output
    return _with_nan(module, output, probe.channels)


def _pass_on(probe: Probe, name: str, module: nn.Module, _: tuple[Any, ...], output: Tensor) -> Tensor:
    marks = probe.seen.get((name, Side.BOTH))
    return output if marks is None else _with_nan(module, output, marks)


def _with_nan(module: nn.Module, output: Tensor, channels: Tensor) -> Tensor:
    index = channels.nonzero().flatten().to(output.device)
    return output.index_fill(_channel_axis(module, output), index, NAN)
