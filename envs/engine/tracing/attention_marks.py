"""Attention that computes nothing but where NaN goes, for passes with marks."""

from typing import Any

from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from torch.overrides import TorchFunctionMode

from envs.engine.tracing.sample_axes import NAN


class MarksThroughAttention(TorchFunctionMode):
    """Has torch's attention hand on NaN as its arithmetic would, in a small part of the time.

    An output channel of a head depends on this channel of all values, and on all queries and keys of the head. (torch's
    fused kernels turn some rows of NaN into zeros, and its written-out products take longer than the rest of a pass.)
    """

    def __torch_function__(
        self,
        func: Any,  # noqa: ANN401
        types: Any,  # noqa: ANN401
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        """Replace attention, and call all else."""
        if func is scaled_dot_product_attention:
            return _attend(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


def _attend(query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None, *_: Any, **__: Any) -> Tensor:  # noqa: ANN401
    if query.ndim > 2 and query.shape[-3] != key.shape[-3]:  # grouped queries
        times = query.shape[-3] // key.shape[-3]
        key, value = key.repeat_interleave(times, -3), value.repeat_interleave(times, -3)
    scores = query.mean((-2, -1), keepdim=True) + key.mean((-2, -1), keepdim=True)
    if attn_mask is not None and attn_mask.is_floating_point():  # such as a bias computed by layers
        scores = scores + attn_mask.nan_to_num(NAN, 0.0, 0.0).mean((-2, -1), keepdim=True)
    mixed = value.mean(-2, keepdim=True) + scores.to(value)
    return mixed.expand(*mixed.shape[:-2], query.shape[-2], mixed.shape[-1]).contiguous()
