"""Marks in the channels of layers' outputs, and who reads them: the forward passes of ``nan_probing``.

A mark is NaN. The samples of a batch carry different marks, so that one pass answers many questions.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

from envs.engine.network.calls import Inputs, flatten_outputs, forward
from envs.engine.network.channels import ChannelDim, Side
from envs.engine.network.modules import channel_axis_of, multiplier_of
from envs.engine.tracing.sample_axes import (
    NAN,
    OUTPUT,
    READ,
    WRITTEN,
    Place,
    SampleAxes,
    repeat_samples,
    tensors_of,
)

MOST_SAMPLES, BATCH_BYTES = 32, 1 << 24
"""Samples of a pass: so many, or as many as make the largest output of a layer no larger than this."""
Marks = Mapping[str, Tensor]
"""What one sample carries: by layer the channels of its output that are marked, bool, shape ``(channels,)``."""


class PassIsOver(BaseException):
    """The last reader has read. No ``Exception``, so that no handler inside the network swallows it."""


@dataclass
class Seen:
    """What one or more passes saw, with a row a sample.

    Attributes:
        reads: for every channel dimension that is read, which of its channels were marked, bool,
            ``(samples, channels)``.
        stops: samples in which modules with parameters that cannot be made smaller read a marked channel, bool,
            ``(samples,)``, by module.
        reached: samples in which marks reach the network's output, bool, ``(samples,)``.
    """

    samples: int
    reads: dict[ChannelDim, Tensor] = field(default_factory=dict)
    stops: dict[str, Tensor] = field(default_factory=dict)
    reached: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.bool))

    def extended(self, other: "Seen") -> "Seen":
        """Return what both saw, one sample behind the other."""
        return Seen(
            self.samples + other.samples,
            _joined(self.reads, other.reads, self.samples, other.samples),
            _joined(self.stops, other.stops, self.samples, other.samples),
            torch.cat([self.reached, other.reached]),
        )


def _joined(first: dict[Any, Tensor], second: dict[Any, Tensor], above: int, below: int) -> dict[Any, Tensor]:
    """Stack rows by key, with nothing where one has none."""
    joined = {}
    for key in dict.fromkeys((*first, *second)):
        width = (first[key] if key in first else second[key]).shape[1:]
        parts = [
            rows[key] if key in rows else torch.zeros(count, *width, dtype=torch.bool)
            for rows, count in ((first, above), (second, below))
        ]
        joined[key] = torch.cat(parts)
    return joined


class NanProbe:
    """A network whose layers mark and read.

    Attributes:
        replayed: the layers that return their recorded output.
    """

    def __init__(self, model: nn.Module, inputs: Inputs, axes: SampleAxes | None, outputs: Mapping[str, Any]) -> None:
        """Take what was recorded; :func:`nan_probe` does it.

        Args:
            model: the network in eval mode.
            inputs: its example input, of a single sample where there are sample axes.
            axes: where samples lie; ``None`` where a pass takes one sample only.
            outputs: of the layers that return what was recorded, for ``inputs``.
        """
        self.replayed = frozenset(outputs)
        self._model, self._inputs, self._axes, self._outputs = model, inputs, axes or {}, outputs
        largest = max((tensor.nbytes for output in outputs.values() for tensor in tensors_of(output)), default=1)
        self._at_once = 1 if axes is None else max(1, min(MOST_SAMPLES, BATCH_BYTES // largest))
        self._marks: Marks = {}
        self._last, self._begun, self.seen = "", False, Seen(0)

    def run(self, samples: Sequence[Marks], last: str = "", between: Callable[[], None] = lambda: None) -> Seen:
        """Run as few passes as possible.

        Args:
            samples: what each carries.
            last: the reader behind which passes may end; none where they have to go to their end.
            between: called before every pass.
        """
        seen = Seen(0)
        alone = [number for number, marks in enumerate(samples) if not all(map(self.tells_apart, marks))]
        order = [number for number in range(len(samples)) if number not in set(alone)]
        size = self._at_once
        for numbers in [order[i : i + size] for i in range(0, len(order), size)] + [[number] for number in alone]:
            between()
            seen = seen.extended(self._run_once([samples[number] for number in numbers], last))
        back = torch.tensor([*order, *alone], dtype=torch.long).argsort()
        return Seen(
            len(samples),
            {dim: rows[back] for dim, rows in seen.reads.items()},
            {name: rows[back] for name, rows in seen.stops.items()},
            seen.reached[back],
        )

    def tells_apart(self, source: str) -> bool:
        """Whether a layer's output has samples, which can be marked by themselves."""
        return self._axes.get((source, WRITTEN, 0)) is not None

    def _run_once(self, samples: Sequence[Marks], last: str) -> Seen:
        sources = {source: len(channels) for marks in samples for source, channels in marks.items()}
        nothing = {source: torch.zeros(width, dtype=torch.bool) for source, width in sources.items()}
        self._marks = {s: torch.stack([marks.get(s, nothing[s]) for marks in samples]) for s in sources}
        self._last, self._begun = last, False
        self.seen = Seen(len(samples), reached=torch.zeros(len(samples), dtype=torch.bool))
        inputs = repeat_samples(self._inputs, len(samples)) if self._axes else self._inputs
        try:
            outputs = flatten_outputs(forward(self._model, inputs))
        except PassIsOver:
            return self.seen
        except Exception:  # the user's forward: a detector that chooses boxes by their scores finds none in NaN
            if not self._begun:
                raise
            return self._broken(samples, last)
        floats = ((number, output) for number, output in enumerate(outputs) if output.is_floating_point())
        for number, output in floats:
            self.seen.reached |= self._by_sample(("", OUTPUT, number), output)
        return self.seen

    def _broken(self, samples: Sequence[Marks], last: str) -> Seen:
        """Return what samples saw that no pass takes together; marks that break one alone count as reaching its end."""
        if len(samples) == 1:
            self.seen.reached |= True
            return self.seen
        seen = Seen(0)
        for marks in samples:
            seen = seen.extended(self._run_once([marks], last))
        return seen

    def _by_sample(self, place: Place, tensor: Tensor) -> Tensor:
        """Return which samples of a tensor hold NaN, bool, ``(samples,)``."""
        if not tensor.numel():  # a detector that finds nothing
            return torch.zeros(self.seen.samples, dtype=torch.bool)
        axis = self._axes.get(place)
        if axis is None:
            return tensor.amax().isnan().cpu().expand(self.seen.samples)
        return axis.by_sample(nan_along(tensor, axis.axis), self.seen.samples)

    def read(self, name: str, dims: tuple[ChannelDim, ...], tensor: Tensor, axis: int) -> Tensor | None:
        """Note which channels of a layer's input are marked, and return them by sample, ``None`` for none."""
        reading = reading_of(dims)
        if reading is None or not self._begun or not tensor.numel():
            return None
        samples = self._axes.get((name, READ, 0))
        if samples is None:
            rows = nan_along(tensor, axis).expand(self.seen.samples, -1)
        else:
            rows = samples.by_sample(nan_along(tensor, samples.axis, axis), self.seen.samples)
        if not bool(rows.any()):
            return None
        module = self._model.get_submodule(name)
        rows = rows.repeat_interleave(multiplier_of(module), 1)
        self.seen.reads[reading] = self.seen.reads[reading] | rows if reading in self.seen.reads else rows
        return rows

    def stop(self, name: str, value: Any) -> None:  # noqa: ANN401  whatever a module is called with
        """Note that a module with parameters reads marked channels."""
        if not self._begun:
            return
        for number, tensor in enumerate(tensors_of(value)):
            rows = self._by_sample((name, READ, number), tensor)
            if bool(rows.any()):
                self.seen.stops[name] = self.seen.stops[name] | rows if name in self.seen.stops else rows

    def recorded(self, name: str) -> Any:  # noqa: ANN401  whatever a module returns
        """Return the output recorded of a layer, of as many samples as the pass has."""
        count = self.seen.samples
        numbers = iter(range(len(tree_leaves(self._outputs[name]))))

        def repeated(leaf: Any) -> Any:  # noqa: ANN401
            if not isinstance(leaf, Tensor) or not leaf.is_floating_point():
                return leaf
            axis = self._axes.get((name, WRITTEN, next(numbers)))
            return leaf.clone() if axis is None else axis.repeat(leaf, count)  # what follows may change it in place

        return tree_map(repeated, self._outputs[name])

    def mark(self, name: str, output: Tensor) -> Tensor:
        """Put this pass's marks into the output of a layer that is to carry some."""
        if name not in self._marks:
            return output
        self._begun = True
        return self.marked(name, output, self._marks[name])

    def marked(self, name: str, output: Tensor, channels: Tensor) -> Tensor:
        """Put NaN into some channels of an output, in place; they are bool, ``(samples, channels)``."""
        axis = channel_axis_of(self._model.get_submodule(name), output)
        samples = self._axes.get((name, WRITTEN, 0))
        shape = [1] * output.ndim
        shape[axis] = output.shape[axis]
        if samples is None:
            mask = channels.any(0)
        else:
            shape[samples.axis] = output.shape[samples.axis]
            mask = samples.by_position(channels, output.shape[samples.axis])
            mask = mask if samples.axis < axis else mask.T
        # Adding is faster than filling what a mask says.
        return output.add_(torch.zeros(mask.shape).masked_fill_(mask, NAN).reshape(shape).to(output))

    def is_over(self, name: str) -> bool:
        """Whether the pass may end behind a layer."""
        return name == self._last


def nan_along(tensor: Tensor, *axes: int) -> Tensor:
    """Return where along some axes, in their order, a tensor holds NaN, bool."""
    others = [axis for axis in range(tensor.ndim) if axis not in axes]
    largest = tensor.amax(others) if others else tensor
    return (largest if list(axes) == sorted(axes) else largest.T).isnan().cpu()


def reading_of(dims: tuple[ChannelDim, ...]) -> ChannelDim | None:
    """Return the channel dimension of a module that is read; an embedding has none."""
    return next((dim for dim in dims if dim[1] is not Side.OUT), None)
