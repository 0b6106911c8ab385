"""A network whose layers return what they returned before, so that a pass with marks computes next to nothing.

Marks end where they are read, so a layer with parameters returns the output recorded when the network ran unmarked,
whatever it reads. What runs is the code between layers.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

from torch import Tensor, nn
from torch.utils._pytree import tree_map
from torch.utils.hooks import RemovableHandle

from envs.engine.network.calls import Call, Inputs, forward
from envs.engine.network.channels import ChannelDim, Side
from envs.engine.network.hooks import hooked
from envs.engine.network.kinds.attention import HeadedAttention
from envs.engine.network.modules import channel_axis_of, channel_dims_of, reader_of
from envs.engine.tracing.nan_marks import NanProbe, PassIsOver, reading_of
from envs.engine.tracing.sample_axes import (
    READ,
    NotInBatches,
    SampleAxes,
    SampleAxis,
    find_sample_axes,
    holds_channels,
    repeat_samples,
    tensors_of,
)

RECORD_BYTES = 1 << 30
"""Layers whose outputs do not fit in here are computed anew in every pass."""


@contextmanager
def nan_probe(model: nn.Module, inputs: Inputs, calls: Mapping[str, Call]) -> Iterator[NanProbe]:
    """Have the layers of a network mark and read.

    Args:
        model: the network in eval mode.
        inputs: its example input.
        calls: how its modules are called on it.
    """
    axes: SampleAxes | None
    try:
        axes = find_sample_axes(model, inputs)
        inputs = repeat_samples(inputs, 1)
    except NotInBatches:
        axes = None
    outputs = _record(model, inputs, calls)
    probe = NanProbe(model, inputs, axes, outputs)
    layers = {name: tuple(channel_dims_of(name, module)) for name, module in model.named_modules() if name in calls}
    replays = {
        model.get_submodule(name): partial(_replay, probe, name, model.get_submodule(name), layers[name])
        for name in outputs
    }
    attending = _attending_no_more(probe, model, inputs, axes)
    with attending, _attributes_replaced("forward", replays), hooked(_listen(probe, model, layers)):
        yield probe


def _listen(
    probe: NanProbe, model: nn.Module, layers: Mapping[str, tuple[ChannelDim, ...]]
) -> Iterator[RemovableHandle]:
    """Hook all modules that do not return a recorded output."""
    for name, module in model.named_modules():
        dims = layers.get(name, ())
        if name in probe.replayed:
            continue
        if dims and not reader_of(name, module):
            yield module.register_forward_pre_hook(partial(_read, probe, dims))
            yield module.register_forward_hook(partial(_mark, probe, dims))
        elif holds_channels(name, module):
            yield module.register_forward_pre_hook(partial(_stop, probe, name), with_kwargs=True)


@contextmanager
def _attributes_replaced(name: str, replacements: Mapping[nn.Module, Callable[..., Any]]) -> Iterator[None]:
    """Give modules another method inside the block."""
    before = {module: vars(module).get(name) for module in replacements}
    try:
        for module, replacement in replacements.items():
            vars(module)[name] = replacement
        yield
    finally:
        for module, own in before.items():
            vars(module).pop(name, None)
            if own is not None:
                vars(module)[name] = own


@contextmanager
def _attending_no_more(probe: NanProbe, model: nn.Module, inputs: Inputs, axes: SampleAxes | None) -> Iterator[None]:
    """Have torch's attention return what it computed once: marks end where it reads them."""
    found: dict[nn.Module, list[Any]] = {}

    def record(module: Any, *args: Any) -> Any:  # noqa: ANN401  an attention
        found.setdefault(module, []).append(HeadedAttention.attend(module, *args))
        return found[module][-1]

    def repeat(axis: SampleAxis | None, recorded: Any, *_: Any) -> Any:  # noqa: ANN401
        return tree_map(
            lambda leaf: axis.repeat(leaf, probe.seen.samples) if axis and isinstance(leaf, Tensor) else leaf, recorded
        )

    attentions: dict[nn.Module, str] = {
        module: name for name, module in model.named_modules() if isinstance(module, HeadedAttention)
    }
    if attentions:
        with _attributes_replaced("attend", {module: partial(record, module) for module in attentions}):
            forward(model, inputs)
    once = {module: outputs[0] for module, outputs in found.items() if len(outputs) == 1}
    places = {module: (f"{attentions[module]}.out_proj", READ, 0) for module in once}
    repeats = {module: partial(repeat, (axes or {}).get(places[module]), once[module]) for module in once}
    with _attributes_replaced("attend", repeats):
        yield


def _record(model: nn.Module, inputs: Inputs, calls: Mapping[str, Call]) -> dict[str, Any]:
    """Return the outputs of the layers that are called once with a tensor and return tensors, and hold no other."""
    outputs: dict[str, Any] = {}
    room = RECORD_BYTES

    def hook(name: str, output: Any) -> None:  # noqa: ANN401  whatever a layer returns
        nonlocal room
        size = sum(tensor.nbytes for tensor in tensors_of(output))
        if size <= room and (isinstance(output, Tensor) or not channel_dims_of(name, model.get_submodule(name))):
            room -= size
            outputs[name] = tree_map(lambda leaf: leaf.clone() if isinstance(leaf, Tensor) else leaf, output)

    handles = (
        module.register_forward_hook(lambda _, __, output, name=name: hook(name, output))
        for name, module in model.named_modules()
        if name in calls and calls[name].count == 1 and calls[name].inputs and holds_channels(name, module)
    )
    with hooked(handles):
        forward(model, inputs)
    return outputs


def _replay(
    probe: NanProbe,
    name: str,
    module: nn.Module,
    dims: tuple[ChannelDim, ...],
    *args: Any,  # noqa: ANN401  whatever a layer is called with
    **kwargs: Any,  # noqa: ANN401
) -> Any:  # noqa: ANN401
    """Stand in for a layer's forward."""
    recorded = probe.recorded(name)
    if not dims:
        probe.stop(name, (args, kwargs))
        return recorded
    marks = probe.read(name, dims, args[0], channel_axis_of(module, args[0]))
    if probe.is_over(name):
        raise PassIsOver
    if marks is not None and reading_of(dims) == (name, Side.BOTH):
        return probe.marked(name, recorded, marks)
    return probe.mark(name, recorded)


def _read(probe: NanProbe, dims: tuple[ChannelDim, ...], module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
    """Note which channels of a layer's input are marked, and take the marks away."""
    if not args or not isinstance(args[0], Tensor):
        return args
    marks = probe.read(dims[0][0], dims, args[0], channel_axis_of(module, args[0]))
    return args if marks is None else (args[0].nan_to_num(0.0), *args[1:])


def _mark(probe: NanProbe, dims: tuple[ChannelDim, ...], _: nn.Module, __: tuple[Any, ...], output: Any) -> Any:  # noqa: ANN401
    marks = probe.seen.reads.get((dims[0][0], Side.BOTH))
    output = output.clone()  # it may be the input of something else
    return probe.mark(dims[0][0], output) if marks is None else probe.marked(dims[0][0], output, marks)


def _stop(probe: NanProbe, name: str, _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:  # noqa: ANN401
    """Note that a module with parameters reads marked channels, and take the marks away."""
    probe.stop(name, (args, kwargs))

    def clean(value: Any) -> Any:  # noqa: ANN401
        return value.nan_to_num(0.0) if isinstance(value, Tensor) and value.is_floating_point() else value

    return tuple(clean(value) for value in args), {key: clean(value) for key, value in kwargs.items()}
