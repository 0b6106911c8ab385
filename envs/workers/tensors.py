"""How the tensors of a parcel are taken out and put back in: each storage once, however many tensors look at it."""

import pickle
from collections.abc import Callable
from typing import Any

import torch
from torch import UntypedStorage
from torch.storage import TypedStorage

Buffer = bytes | bytearray | memoryview | pickle.PickleBuffer
Reduced = tuple[Callable[..., Any], tuple[Any, ...]]


class StorageReducer:
    """Says how storages are pickled, as ``reducer_override`` of one pickler has to; others are not its business."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, int], UntypedStorage] = {}

    def __call__(self, value: object) -> Reduced | None:
        """Return how a storage is made anew; ``None`` for anything else."""
        if isinstance(value, TypedStorage):
            storage = value._untyped_storage
            if storage.nbytes():
                # pickle knows an object again by its identity, and every tensor wraps its storage anew.
                storage = self._seen.setdefault((str(storage.device), storage.data_ptr()), storage)
            return _typed, (storage, value.dtype)
        if isinstance(value, UntypedStorage):
            content = torch.empty(0, dtype=torch.uint8).set_(value.cpu())
            return _untyped, (pickle.PickleBuffer(content.numpy().data), str(value.device))
        return None


def _untyped(content: Buffer, device: str) -> UntypedStorage:
    if not memoryview(content).nbytes:
        return UntypedStorage(0, device=device)
    tensor = torch.frombuffer(content, dtype=torch.uint8)
    return (tensor if device == "cpu" else tensor.to(device)).untyped_storage()


def _typed(storage: UntypedStorage, dtype: torch.dtype) -> TypedStorage:
    return TypedStorage(wrap_storage=storage, dtype=dtype, _internal=True)
