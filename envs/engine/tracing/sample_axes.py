"""Where the samples of a batch lie in the tensors that a network's modules read and write.

Mostly along the first axis. But windows of an image and heads of an attention are put there, too, by some networks
next to each other and by others a batch apart, recurrent layers want samples second, and tables have none. It is found
by experiment: one pass with a sample, and one with two of which the second is NaN.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.hooks import RemovableHandle

from envs.engine.network.calls import Inputs, batch_size, flatten_outputs, forward, map_tensors
from envs.engine.network.hooks import hooked
from envs.engine.network.modules import channel_dims_of

NAN = float("nan")
READ, WRITTEN, OUTPUT = "read", "written", "output"
Place = tuple[str, str, int]
"""Name of a module, whether it reads or writes the tensor, and the number of the tensor among those."""


class NotInBatches(Exception):
    """Samples of a batch cannot be told apart, or the network does not take two."""


class SampleAxis(NamedTuple):
    """How samples share an axis.

    Attributes:
        axis: its number.
        interleaved: whether positions of one sample lie a batch apart, and not next to each other.
    """

    axis: int
    interleaved: bool = False

    def by_sample(self, rows: Tensor, samples: int) -> Tensor:
        """Gather rows, bool, shape ``(positions, ...)``, into ``(samples, ...)``: true where one of a sample's is."""
        return rows.unflatten(0, (-1, samples)).any(0) if self.interleaved else rows.unflatten(0, (samples, -1)).any(1)

    def by_position(self, rows: Tensor, positions: int) -> Tensor:
        """Spread rows, shape ``(samples, ...)``, over the positions of the axis."""
        times = positions // len(rows)
        return rows.repeat(times, *[1] * (rows.ndim - 1)) if self.interleaved else rows.repeat_interleave(times, 0)

    def repeat(self, tensor: Tensor, samples: int) -> Tensor:
        """Return a copy of the tensor of one sample for many that are alike."""
        if self.interleaved:
            return tensor.repeat_interleave(samples, self.axis)
        return tensor.repeat([samples if axis == self.axis else 1 for axis in range(tensor.ndim)])


SampleAxes = dict[Place, SampleAxis | None]
"""By tensor; ``None`` for one that is the same for all samples."""


def tensors_of(value: Any) -> list[Tensor]:  # noqa: ANN401  whatever a module is called with
    """Return the tensors of floats in a structure."""
    return [leaf for leaf in tree_leaves(value) if isinstance(leaf, Tensor) and leaf.is_floating_point()]


def holds_channels(name: str, module: nn.Module) -> bool:
    """Whether a module reads channels in a way of its own: with parameters, or as a norm without."""
    return any(True for _ in module.parameters(recurse=False)) or bool(channel_dims_of(name, module))


def repeat_samples(inputs: Inputs, samples: int) -> Inputs:
    """Return so many copies of the first sample of a network's inputs."""
    size = batch_size(inputs)

    def repeated(tensor: Tensor) -> Tensor:
        if tensor.ndim == 0 or len(tensor) != size:
            return tensor
        return tensor[:1].repeat(samples, *[1] * (tensor.ndim - 1))

    return map_tensors(inputs, repeated)


@dataclass
class _Pass:
    """Shapes by tensor, and the positions on every axis that hold NaN."""

    shapes: dict[Place, tuple[int, ...]] = field(default_factory=dict)
    marked: dict[Place, list[Tensor]] = field(default_factory=dict)

    def note(self, place: Place, tensor: Tensor) -> bool:
        """Note a tensor, and return whether it holds NaN."""
        nan = tensor.isnan()
        marked = bool(nan.any())
        self.shapes.setdefault(place, tuple(tensor.shape))
        if marked:
            self.marked.setdefault(place, [nan.movedim(axis, 0).flatten(1).any(1).cpu() for axis in range(nan.ndim)])
        return marked


def find_sample_axes(model: nn.Module, inputs: Inputs) -> SampleAxes:
    """Find the samples in all tensors that modules with parameters read and write, and in the network's outputs.

    Args:
        model: the network in eval mode.
        inputs: its example input, of which the first sample is used.

    Raises:
        NotInBatches: samples mix, or are found nowhere.
    """
    names = [name for name, module in model.named_modules() if holds_channels(name, module)]
    alone, together = _Pass(), _Pass()
    try:
        _run(model, names, repeat_samples(inputs, 1), alone.note)
        _run(model, names, _with_nan_second(repeat_samples(inputs, 2)), partial(_note_and_mark, alone, together))
    except NotInBatches:
        raise
    except Exception as error:  # whatever the user's forward raises on two samples
        raise NotInBatches from error
    if alone.shapes.keys() != together.shapes.keys():
        raise NotInBatches
    return {place: _axis(shape, together, place) for place, shape in alone.shapes.items()}


def _run(model: nn.Module, names: Sequence[str], inputs: Inputs, note: Callable[[Place, Tensor], object]) -> None:
    """Run a pass and show ``note`` every tensor."""

    def read(name: str, _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        for number, tensor in enumerate(tensors_of((args, kwargs))):
            note((name, READ, number), tensor)

    def written(name: str, _: nn.Module, __: tuple[Any, ...], output: Any) -> Any:  # noqa: ANN401
        numbers = iter(range(len(tree_leaves(output))))

        def noted(leaf: Any) -> Any:  # noqa: ANN401
            if not isinstance(leaf, Tensor) or not leaf.is_floating_point():
                return leaf
            marked = note((name, WRITTEN, next(numbers)), leaf)
            return marked if isinstance(marked, Tensor) else leaf

        return tree_map(noted, output)

    def handles() -> Iterator[RemovableHandle]:
        for name in names:
            module = model.get_submodule(name)
            yield module.register_forward_pre_hook(partial(read, name), with_kwargs=True)
            yield module.register_forward_hook(partial(written, name))

    with hooked(handles()):
        outputs = flatten_outputs(forward(model, inputs))
    for number, output in enumerate(outputs):
        if output.is_floating_point():
            note(("", OUTPUT, number), output)


def _with_nan_second(inputs: Inputs) -> Inputs:
    def marked(tensor: Tensor) -> Tensor:
        if not tensor.is_floating_point() or tensor.ndim == 0 or len(tensor) != 2:
            return tensor
        return tensor.index_fill(0, torch.tensor([1], device=tensor.device), NAN)

    return map_tensors(inputs, marked)


def _note_and_mark(alone: _Pass, together: _Pass, place: Place, tensor: Tensor) -> Tensor | None:
    """Note a tensor of the pass with two samples; where no NaN arrived, as in one that comes of words, put it in."""
    if together.note(place, tensor) or place[1] != WRITTEN:
        return None
    doubled = _doubled(alone.shapes.get(place, ()), tuple(tensor.shape))
    if doubled is None or tensor.shape[doubled] != 2:
        return None
    return tensor.index_fill(doubled, torch.tensor([1], device=tensor.device), NAN)


def _doubled(alone: tuple[int, ...], together: tuple[int, ...]) -> int | None:
    """Return the axis that two samples make twice as long, ``None`` where all are as they were.

    Raises:
        NotInBatches: there are several, or something else changes.
    """
    differing = [axis for axis, (one, two) in enumerate(zip(alone, together, strict=False)) if one != two]
    if (
        len(alone) != len(together)
        or len(differing) > 1
        or any(together[axis] != 2 * alone[axis] for axis in differing)
    ):
        raise NotInBatches
    return differing[0] if differing else None


def _axis(alone: tuple[int, ...], together: _Pass, place: Place) -> SampleAxis | None:
    axis = _doubled(alone, together.shapes[place])
    marked = together.marked.get(place)
    if axis is None:
        if marked is not None:
            raise NotInBatches  # the second sample changes what all of them read
        return None
    if marked is None:
        return SampleAxis(axis)
    position = torch.arange(2 * alone[axis])
    for interleaved, second in ((False, position >= alone[axis]), (True, position % 2 == 1)):
        if not bool((marked[axis] & ~second).any()):
            return SampleAxis(axis, interleaved)
    raise NotInBatches
