"""The forward pass in which values carry labels."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map
from torch.utils.hooks import RemovableHandle

from envs.engine.network.calls import Call, Inputs, batch_size, flatten_outputs, forward
from envs.engine.network.channels import ChannelDim, ChannelTies, IntArray, Side
from envs.engine.network.hooks import hooked
from envs.engine.network.modules import (
    BatchNorm,
    channel_axis_of,
    channel_dims_of,
    is_plain,
    is_product,
    multiplier_of,
    reader_of,
)
from envs.engine.tracing.labels.label_mode import LabelMode, unseen
from envs.engine.tracing.labels.label_tensors import LABEL, of_channels, united
from envs.engine.tracing.labels.operation import is_float
from envs.engine.tracing.nan_marks import reading_of
from envs.engine.tracing.preflight import written_out
from envs.engine.tracing.sample_axes import holds_channels, tensors_of


class Labelled(NamedTuple):
    """What a pass with labels found beside ties.

    Attributes:
        outputs: the network's.
        flops: multiply-accumulates of one sample, also those outside of layers.
        folds: (convolution or linear layer, batch norm) pairs where the norm alone reads the layer directly.
        own_parameters: modules whose channels meet a parameter outside of layers.
        stops: numbers of the channels that modules read which cannot be made smaller, by the modules' names.
    """

    outputs: list[Tensor]
    flops: float
    folds: tuple[tuple[str, str], ...]
    own_parameters: frozenset[str]
    stops: dict[str, IntArray]


class _Pass:
    """The layers of a network, as they read and write labels."""

    def __init__(self, ties: ChannelTies, model: nn.Module, calls: Mapping[str, Call], mode: LabelMode) -> None:
        self._ties, self._model, self._calls, self._mode = ties, model, calls, mode
        self._layers = {
            name: tuple(channel_dims_of(name, module)) for name, module in model.named_modules() if name in calls
        }
        self._passed: Tensor | None = None
        self._was_read: list[Tensor] = []
        self._folds: dict[str, str] = {}
        self._frozen: list[tuple[IntArray, str]] = []
        self.stops: dict[str, IntArray] = {}

    def hooks(self) -> Iterator[RemovableHandle]:
        """Hook all modules that read channels in a way of their own."""
        for name, module in self._model.named_modules():
            dims = self._layers.get(name, ())
            if dims and not reader_of(name, module):
                yield module.register_forward_pre_hook(partial(self._read, name, dims))
                yield module.register_forward_hook(partial(self._write, name, dims))
            elif reader_of(name, module) or (holds_channels(name, module) and not self._is_seen_through(name, module)):
                yield module.register_forward_pre_hook(partial(self._stop, name), with_kwargs=True)

    def _is_seen_through(self, name: str, module: nn.Module) -> bool:
        """Whether a module calls layers beside its own parameters, or these are numbers for all channels alike."""
        inside = (f"{name}.{inner}" if name else inner for inner, _ in module.named_modules() if inner)
        alike = all(parameter.numel() <= 1 for parameter in module.parameters(recurse=False))
        return any(map(self._layers.get, inside)) or (alike and not channel_dims_of(name, module))

    def _numbers(self, dim: ChannelDim) -> Tensor:
        return torch.from_numpy(self._ties.numbers(dim) + 1).to(LABEL)

    def _read(self, name: str, dims: tuple[ChannelDim, ...], module: nn.Module, args: tuple[Any, ...]) -> None:
        """Tie a layer's channels to those that it reads."""
        self._mode.inside += 1
        reading = reading_of(dims)
        if self._mode.inside > 1:
            return
        self._passed = None
        if reading is None or not args or not isinstance(args[0], Tensor):
            return
        with unseen():
            source, labels = self._mode.source_of(args[0]), self._mode.read(args[0])
            if labels is None:
                return
            if source and isinstance(module, BatchNorm) and is_plain(module):
                self._folds[source] = name
            axis = channel_axis_of(module, args[0]) % labels.ndim
            channels = united(labels, [other for other in range(labels.ndim) if other != axis], self._mode.pairs)
            channels = channels.flatten().expand(labels.shape[axis]).repeat_interleave(multiplier_of(module))
            numbers = self._numbers(reading)
            self._mode.pairs.add(channels, numbers)
            self._passed = torch.where(channels > 0, numbers, 0)
            self._was_read.append(numbers[channels > 0])

    def _write(self, name: str, dims: tuple[ChannelDim, ...], module: nn.Module, _: Any, output: Any) -> None:  # noqa: ANN401
        """Label what a layer returns: its own channels, or those that it passes on."""
        self._mode.inside -= 1
        channels = self._numbers((name, Side.OUT)) if (name, Side.OUT) in dims else self._passed
        if self._mode.inside or channels is None or not isinstance(output, Tensor):
            return
        with unseen():
            labels = of_channels(channels, channel_axis_of(module, output), output.shape)
            self._mode.write(output, labels, True, name if is_product(module) and is_plain(module) else "")

    def _stop(self, name: str, module: nn.Module, args: Any, kwargs: Any) -> Any:  # noqa: ANN401
        """Freeze channels that a module with parameters reads, and take their labels away."""
        stopped = []
        with unseen():
            for tensor in tensors_of((args, kwargs)):
                labels = self._mode.read(tensor)
                if labels is not None and bool((labels > 0).any()):
                    stopped.append(labels)
        if not stopped:
            return None
        self.stops[name] = self._mode.pairs.numbers(stopped) - 1
        self._frozen.append((self.stops[name], stuck_to(name, module)))

        def clean(value: Any) -> Any:  # noqa: ANN401
            return value.clone() if is_float(value) else value

        self._mode.inside += 1
        try:
            return tree_map(clean, (args, kwargs))
        finally:
            self._mode.inside -= 1

    def leave(self, outputs: Sequence[Tensor]) -> None:
        """Keep the channels of the network's outputs."""
        found = [self._mode.read(output) for output in outputs if is_float(output)]
        numbers = self._mode.pairs.numbers([labels for labels in found if labels is not None]) - 1
        self._frozen.append((numbers, "is an output of the network"))

    def tie(self) -> None:
        """Tie all that was found."""
        first, second = self._mode.pairs.as_arrays()
        for numbers, reason in self._frozen:
            self._ties.freeze(numbers, reason)
        self._ties.tie_numbers(first - 1, second - 1, self._mode.pairs.numbers(self._was_read) - 1)

    def folds(self) -> tuple[tuple[str, str], ...]:
        """Return layers with the batch norm that alone reads their output."""
        once = self._mode.read_once()
        both = ((layer, norm) for layer, norm in self._folds.items() if layer in once)
        return tuple(pair for pair in both if all(self._calls[name].count == 1 for name in pair))


def follow_labels(ties: ChannelTies, model: nn.Module, inputs: Inputs, calls: Mapping[str, Call]) -> Labelled:
    """Tie channels that are read together, in place.

    Args:
        ties: the channels of all dimensions.
        model: the network in eval mode.
        inputs: its example input.
        calls: how its modules are called on it.

    Raises:
        NotFollowed: labels got lost.
        Exception: whatever the user's forward raises.
    """
    held = {id(p) for name, module in model.named_modules() if name in calls for p in module.parameters(recurse=False)}
    own = {p.untyped_storage()._cdata for p in model.parameters() if id(p) not in held}
    mode = LabelMode(ties, own)
    layers = _Pass(ties, model, calls, mode)
    with written_out(), hooked(layers.hooks()), mode:
        outputs = flatten_outputs(forward(model, inputs))
    layers.leave(outputs)
    layers.tie()
    met = ties.modules_with(mode.pairs.numbers(mode.met) - 1)
    kept = [output.detach() for output in outputs]
    return Labelled(kept, mode.total / 2 / batch_size(inputs), layers.folds(), met, layers.stops)


def stuck_to(name: str, module: nn.Module, when: str = "") -> str:
    """Say why channels stay that a module reads."""
    return f"is coupled to {name} ({type(module).__name__}){when}, which cannot be made smaller"
