"""Mixed precision: matrix products in bfloat16, and in float32 what bfloat16 would slow down."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

Function = Callable[..., Any]
GROUPS = 6
"""Place of ``groups`` among the arguments of ``torch.conv2d``."""


@contextmanager
def mixed_precision(device: torch.device, enabled: bool) -> Iterator[None]:
    """Compute in bfloat16 inside the block, as ``torch.autocast`` does; on CPUs depthwise convolutions in float32.

    These do one product for every number they read, so that there is nothing for bfloat16 to gain, and oneDNN has no
    fast gradient of them in it: a step of training MobileNet-V1 took twice as long (``benchmarks/finetuning.md``).

    Args:
        device: that the network is on.
        enabled: without it nothing changes.
    """
    exact = _DepthwiseInFloat32() if enabled and device.type == "cpu" else nullcontext()
    with torch.autocast(device.type, torch.bfloat16, enabled=enabled), exact:
        yield


class _DepthwiseInFloat32(TorchFunctionMode):
    def __torch_function__(
        self,
        func: Function,
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401  whatever torch's functions return
        given = kwargs or {}
        if func != torch.conv2d or not _is_depthwise(args, given):
            return func(*args, **given)
        with torch.autocast("cpu", enabled=False):
            exact: list[Any] = [_in_float32(each) for each in args]
            return func(*exact, **{name: _in_float32(each) for name, each in given.items()})


def _is_depthwise(args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    groups = args[GROUPS] if len(args) > GROUPS else kwargs.get("groups", 1)
    weight = args[1] if len(args) > 1 else kwargs["weight"]
    return bool(groups > 1 and weight.shape[1] == 1)


def _in_float32(value: Any) -> Any:  # noqa: ANN401  an argument of a convolution
    return value.float() if isinstance(value, Tensor) else value
