"""A limit on the memory of tensors, for networks that a file from outside asks for."""

import math
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

# What makes a tensor of a size that is its first argument.
SIZED = {torch.ops.aten.empty.memory_format, torch.ops.aten.zeros.default, torch.ops.aten.ones.default}
SIZED |= {torch.ops.aten.full.default, torch.ops.aten.rand.default, torch.ops.aten.randn.default}


class AllocationLimit(TorchDispatchMode):
    """Refuses, inside a ``with`` block, to make more than so many bytes of new tensors.

    Args:
        limit: bytes of all tensors that are made together, whether they are still there or not.
        each: bytes of one of them.

    Raises:
        ValueError: from whatever asks for more.
    """

    def __init__(self, limit: int, each: int | None = None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._limit = limit
        self._each = limit if each is None else each
        self._made = 0

    def __torch_dispatch__(
        self,
        func: Any,  # noqa: ANN401
        types: Any,  # noqa: ANN401
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        if func in SIZED:
            self._check(math.prod(map(int, args[0])) * _element_size(kwargs))
        result = func(*args, **(kwargs or {}))
        known = {each.data_ptr() for each in tree_leaves((args, kwargs)) if isinstance(each, Tensor) and _is_real(each)}
        for each in tree_leaves(result):
            if isinstance(each, Tensor) and _is_real(each) and each.data_ptr() not in known:
                size = each.untyped_storage().nbytes()
                self._check(size)
                self._made += size
        return result

    def _check(self, size: int) -> None:
        if size > self._each or self._made + size > self._limit:
            raise ValueError(f"it would take more than {min(self._limit, self._each) >> 20} MB")


def _element_size(kwargs: dict[str, Any] | None) -> int:
    dtype = (kwargs or {}).get("dtype") or torch.get_default_dtype()
    return int(dtype.itemsize)


def _is_real(tensor: Tensor) -> bool:
    return tensor.device.type != "meta" and tensor.layout is torch.strided
