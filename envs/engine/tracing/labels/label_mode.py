"""Does to labels what torch's operations do to values."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef

from envs.engine.network.channels import ChannelTies
from envs.engine.tracing.labels.label_tensors import NotFollowed, Pairs, core
from envs.engine.tracing.labels.operation import Operation, is_float, outputs_of
from envs.engine.tracing.labels.operations import follow
from envs.engine.tracing.preflight import FlopCount

Place = tuple[int, tuple[int, ...], tuple[int, ...]]
"""Where in a storage a tensor's values are: offset, shape and strides, without axes of one position."""


@dataclass
class _Memory:
    """Labels of the tensors in one storage, as long as it lives.

    Attributes:
        alive: the storage.
        labels: by place.
        written_by: the layer whose output this is.
        reads: how often it was read.
    """

    alive: StorageWeakRef
    labels: dict[Place, Tensor] = field(default_factory=dict)
    written_by: str = ""
    reads: int = 0


@contextmanager
def unseen() -> Iterator[None]:
    """Do something that no one follows."""
    with torch._C.DisableTorchFunction(), torch._C._DisableTorchDispatch():
        yield


class LabelMode(FlopCount):
    """Does to labels what operations do to values, and counts what these multiply."""

    def __init__(self, ties: ChannelTies, own: set[int]) -> None:
        super().__init__()
        self.pairs = Pairs(ties.channels + 1)
        self.inside = 0
        self.met: list[Tensor] = []
        self._own = own
        self._memory: dict[int, _Memory] = {}
        self._sources: list[tuple[str, _Memory]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # noqa: ANN401
        """Call an operation, count, and follow it outside of layers."""
        outputs = super().__torch_dispatch__(func, types, args, kwargs)
        if not self.inside:
            with unseen():
                self._follow(func, args, kwargs or {}, outputs)
        return outputs

    def _follow(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], outputs: Any) -> None:  # noqa: ANN401
        labels = tuple(self._labels_in(value) for value in args)
        if all(label is None for label in labels):
            return
        values = outputs_of(outputs)
        shapes = [value.shape if isinstance(value, Tensor) else torch.Size() for value in values]
        found = follow(Operation(func, labels, args, kwargs, shapes, self.pairs))
        changes = func._schema.is_mutable
        for value, label in zip(values, found, strict=False):
            if is_float(value):
                self.write(value, label, changes)
        self._note_own(args, found)

    def _labels_in(self, value: Any) -> Any:  # noqa: ANN401
        if isinstance(value, Tensor):
            return self.read(value)
        if isinstance(value, list | tuple):
            several = [self._labels_in(each) for each in value]
            return None if all(each is None for each in several) else several
        return None

    def _note_own(self, args: tuple[Any, ...], labels: list[Tensor]) -> None:
        """Note channels that meet a parameter outside of layers, with a value for each."""
        for value in args:
            if isinstance(value, Tensor) and value.untyped_storage()._cdata in self._own and value.numel() > 1:
                self.met.extend(labels)

    def read(self, tensor: Tensor) -> Tensor | None:
        """Return the labels of a tensor, ``None`` where it has none.

        Raises:
            NotFollowed: other tensors in its storage have some.
        """
        memory = self._memory.get(tensor.untyped_storage()._cdata)
        if memory is None or memory.alive.expired():
            return None
        memory.reads += 1
        labels = memory.labels.get(_place(tensor))
        if labels is None:
            raise NotFollowed
        return labels.reshape(tensor.shape)

    def write(self, tensor: Tensor, labels: Tensor, changes: bool = False, source: str = "") -> None:
        """Give a tensor labels.

        Args:
            tensor: it.
            labels: in its shape.
            changes: whether others in its storage change with it.
            source: the layer that returns it.
        """
        storage = tensor.untyped_storage()
        memory = self._memory.get(storage._cdata)
        if memory is None or memory.alive.expired():
            memory = self._memory[storage._cdata] = _Memory(StorageWeakRef(storage))
        place = _place(tensor)
        if changes and not (place in memory.labels and torch.equal(core(memory.labels[place]), core(labels))):
            memory.labels.clear()
        memory.labels[place] = labels
        if source and source != memory.written_by:
            memory.written_by, memory.reads = source, 0
            self._sources.append((source, memory))

    def source_of(self, tensor: Tensor) -> str:
        """Return the layer whose output a tensor is, empty for none."""
        memory = self._memory.get(tensor.untyped_storage()._cdata)
        return "" if memory is None or memory.alive.expired() else memory.written_by

    def read_once(self) -> set[str]:
        """Return the layers whose output was read once."""
        return {source for source, memory in self._sources if memory.written_by == source and memory.reads == 1}


def _place(tensor: Tensor) -> Place:
    wide = [axis for axis, size in enumerate(tensor.shape) if size != 1]
    return int(tensor.storage_offset()), tuple(tensor.shape[axis] for axis in wide), tuple(map(tensor.stride, wide))
