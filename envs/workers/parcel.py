"""An engine in a parcel: what a worker needs, its tensors beside the rest, so that many may share them.

Parcels are handed from a driver to its own workers and are never kept: what opens them runs what is in them.
"""

import io
import mmap
import pickle
import sys
from collections.abc import Sequence
from typing import IO, Any, NamedTuple

import cloudpickle

ALIGNED = 64
"""Bytes at whose multiples tensors begin."""
COUNT = 8
"""Bytes of a length."""
Buffer = bytes | bytearray | memoryview | pickle.PickleBuffer


class Parcel(NamedTuple):
    """Any object in pieces.

    Attributes:
        rest: all but the tensors.
        tensors: what is in them.
    """

    rest: bytes
    tensors: Sequence[Buffer]


class _Packer(cloudpickle.Pickler):  # type: ignore[misc]
    def __init__(self, file: io.BytesIO, tensors: list[Buffer]) -> None:
        super().__init__(file, protocol=5, buffer_callback=tensors.append)
        self._storages = None
        if "torch" in sys.modules:  # without it there are no tensors, and workers that start without it start fast
            from envs.workers.tensors import StorageReducer

            self._storages = StorageReducer()

    def reducer_override(self, value: Any) -> Any:  # noqa: ANN401  as pickle has it
        reduced = None if self._storages is None else self._storages(value)
        return super().reducer_override(value) if reduced is None else reduced


def pack(value: object) -> Parcel:
    """Take an object to pieces."""
    file, tensors = io.BytesIO(), list[Buffer]()
    _Packer(file, tensors).dump(value)
    return Parcel(file.getvalue(), tensors)


def unpack(parcel: Parcel) -> Any:  # noqa: ANN401  whatever was packed
    """Put an object together. Its tensors lie in the buffers of the parcel, which must be writable."""
    return pickle.loads(parcel.rest, buffers=parcel.tensors)  # noqa: S301  packed by the driver of this worker


def write_parcel(parcel: Parcel, file: IO[bytes]) -> None:
    """Write a parcel to a file that ``open_parcel`` reads."""
    head = pickle.dumps((parcel.rest, [memoryview(content).nbytes for content in parcel.tensors]))
    file.write(len(head).to_bytes(COUNT, "little") + head)
    for content in parcel.tensors:
        file.write(bytes(-file.tell() % ALIGNED))
        file.write(content)
    file.flush()


def open_parcel(number: int) -> Parcel:
    """Open what ``write_parcel`` wrote.

    Its tensors lie in the file, shared by all who open it until they write to them, which changes nothing for others.

    Args:
        number: of the open file.
    """
    content = memoryview(mmap.mmap(number, 0, access=mmap.ACCESS_COPY))
    end = COUNT + int.from_bytes(content[:COUNT], "little")
    rest, sizes = pickle.loads(content[COUNT:end])  # noqa: S301  packed by the driver of this worker
    tensors = []
    for size in sizes:
        start = end + -end % ALIGNED
        end = start + size
        tensors.append(content[start:end])
    return Parcel(rest, tensors)
