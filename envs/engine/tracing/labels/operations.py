"""What operations do to labels: the rules, by name of torch's operators.

Where an operator has no rule, labels get lost.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from envs.engine.tracing.labels.label_tensors import (
    LABEL,
    NotFollowed,
    Pairs,
    compressed,
    core,
    joined,
    reshaped,
    side_by_side,
    united,
)
from envs.engine.tracing.labels.operation import Operation

Rule = Callable[[Operation], Tensor]


def follow(operation: Operation) -> list[Tensor]:
    """Return the labels of the outputs.

    Raises:
        NotFollowed: there is no rule for the operator.
    """
    name = str(operation.func._overloadpacket.__name__)
    if name in RESHAPES:
        return [reshaped(operation.args[0], operation.shapes[0])]
    if operation.func.is_view and name not in RULES:
        views = operation.func(operation.args[0], *operation.values[1:], **operation.kwargs)
        return list(views) if isinstance(views, list | tuple) else [views]
    rule = (
        RULES.get(name)
        or RULES.get(name.rstrip("_"))
        or next((rule for start, rule in BY_START.items() if name.startswith(start)), None)
    )
    if rule is None:
        if torch.Tag.pointwise not in operation.func.tags:
            raise NotFollowed(name)
        rule = _pointwise
    labels = rule(operation)
    # What a norm returns beside what is normed are statistics that gradients need.
    shapes = operation.shapes[:1] if "norm" in name else operation.shapes
    return [labels if labels.shape == shape else _spread(labels, shape, operation.pairs) for shape in shapes]


def _spread(labels: Tensor, shape: torch.Size, pairs: Pairs) -> Tensor:
    """Give labels the shape of an output; where they do not fit, all of them are mixed."""
    try:
        return core(labels).expand(shape)
    except RuntimeError:
        everything = united(labels, range(labels.ndim), pairs)
        return everything.reshape([1] * len(shape)).expand(shape)


def _pointwise(operation: Operation) -> Tensor:
    return joined(operation.labels, operation.pairs)


def _mixed(operation: Operation) -> Tensor:
    """All that is read is mixed."""
    everything = [
        united(labels, range(labels.ndim), operation.pairs).reshape(1) for labels in operation.labels if labels.numel()
    ]
    result = joined(everything or [torch.zeros(1, dtype=LABEL)], operation.pairs)
    shape = operation.shapes[0] if operation.shapes else torch.Size([1])
    return result.reshape([1] * len(shape)).expand(shape)


def _moved(operation: Operation) -> Tensor:
    """Values are moved, repeated or left out, and so are their labels."""
    values = tuple(value.cpu() if isinstance(value, Tensor) else value for value in operation.values[1:])
    values = tuple(_indices(value) for value in values)
    return compressed(operation.func(operation.args[0], *values, **operation.kwargs))


def _indices(value: Any) -> Any:  # noqa: ANN401
    if isinstance(value, list | tuple):
        return type(value)(each.cpu() if isinstance(each, Tensor) else each for each in value)
    return value


def _rolled(operation: Operation) -> Tensor:
    return operation.func(core(operation.args[0]), *operation.values[1:], **operation.kwargs)


def _padded(operation: Operation) -> Tensor:
    """What is put around values has no label, or along an axis on which nothing depends that of its neighbours."""
    labels, padding = core(operation.args[0]), list(operation.values[1])
    kept = [
        0 if labels.shape[-1 - number // 2] == 1 < operation.args[0].shape[-1 - number // 2] else each
        for number, each in enumerate(padding)
    ]
    return torch.nn.functional.pad(labels, kept)


def _beside(operation: Operation) -> Tensor:
    axis = int(operation.argument("dim", 0))
    parts = [
        torch.zeros((), dtype=LABEL).expand(value.shape) if labels is None else labels
        for labels, value in zip(operation.args[0], operation.values[0], strict=True)
    ]
    rank = max(part.ndim for part in parts)
    return side_by_side([part for part in parts if part.ndim == rank], axis % rank)


def _stacked(operation: Operation) -> Tensor:
    axis = int(operation.argument("dim", 0))
    rank = operation.values[0][0].ndim + 1
    parts = [
        (torch.zeros((), dtype=LABEL).expand(value.shape) if labels is None else labels).unsqueeze(axis % rank)
        for labels, value in zip(operation.args[0], operation.values[0], strict=True)
    ]
    return side_by_side(parts, axis % rank)


def _reduced(operation: Operation) -> Tensor:
    """Values along some axes are mixed; the axes stay, as in a softmax, or go, as in a mean."""
    axes = operation.argument("dim")
    labels = operation.args[0]
    if not isinstance(labels, Tensor):
        return _mixed(operation)
    chosen = range(labels.ndim) if axes is None or axes == [] else [axes] if isinstance(axes, int) else axes
    chosen = sorted({axis % labels.ndim for axis in chosen}) if labels.ndim else []
    result = united(labels, chosen, operation.pairs)
    if operation.shapes and len(operation.shapes[0]) < labels.ndim:
        result = result.squeeze(tuple(chosen))
    return result


def _spatial(operation: Operation) -> Tensor:
    """Values of an image are mixed; its channels are not."""
    labels = operation.args[0]
    name = operation.func._overloadpacket.__name__
    rank = next(
        (int(name[place - 1]) for place in range(1, len(name)) if name[place] == "d" and name[place - 1].isdigit()), 0
    )
    return united(labels, range(labels.ndim - rank if rank else min(2, labels.ndim - 1), labels.ndim), operation.pairs)


def _layer_normed(operation: Operation) -> Tensor:
    labels = operation.args[0]
    return united(
        labels, range(labels.ndim - len(operation.argument("normalized_shape")), labels.ndim), operation.pairs
    )


def _group_normed(operation: Operation) -> Tensor:
    by_group = operation.args[0].unflatten(1, (int(operation.argument("group")), -1))
    return united(by_group, range(2, by_group.ndim), operation.pairs).expand(by_group.shape).flatten(1, 2)


def _multiplied(operation: Operation) -> Tensor:
    """A product of matrices: mixed is what is added up, and what is multiplied."""
    first, second = operation.args[-2], operation.args[-1]
    parts = [] if first is None else [united(first, [-1], operation.pairs)]
    if second is not None:
        parts.append(
            united(second, [-2], operation.pairs) if second.ndim > 1 else united(second, [-1], operation.pairs)
        )
    if len(operation.args) > 2 and operation.args[0] is not None:  # addmm
        parts.append(operation.args[0])
    return joined(parts, operation.pairs)


def _gated(operation: Operation) -> Tensor:
    return joined(operation.args[0].chunk(2, int(operation.argument("dim", -1))), operation.pairs)


def _complex(operation: Operation) -> Tensor:
    return united(operation.args[0], [-1], operation.pairs).squeeze(-1)


def _parts_of_complex(operation: Operation) -> Tensor:
    return core(operation.args[0]).unsqueeze(-1)


def _first(operation: Operation) -> Tensor:
    return operation.args[0] if isinstance(operation.args[0], Tensor) else _mixed(operation)


def _written(operation: Operation) -> Tensor:
    """What is copied into a tensor takes its place."""
    return core(operation.args[1]) if isinstance(operation.args[1], Tensor) else torch.zeros((), dtype=LABEL)


def _chosen(operation: Operation) -> Tensor:
    """Values are taken from one tensor or the other, as a third says, which nothing labelled has a part in."""
    condition, *several = operation.values
    either = [torch.zeros((), dtype=LABEL) if each is None else core(each) for each in operation.args[1:]]
    if len(several) < 2 or operation.args[0] is not None:
        return _pointwise(operation)
    return compressed(torch.where(condition.cpu(), either[0], either[1]))


def _unlike(_: Operation) -> Tensor:
    """Only the shape of what is read is taken."""
    return torch.zeros((), dtype=LABEL)


def _table(rule: Rule, names: str) -> dict[str, Rule]:
    return dict.fromkeys(names.split(), rule)


RESHAPES = frozenset({"view", "_unsafe_view", "_reshape_alias", "reshape"})
RULES: dict[str, Rule] = {
    **_table(_beside, "cat concat concatenate"),
    **_table(_stacked, "stack"),
    **_table(_first, "clone _to_copy contiguous native_dropout _fused_dropout"),
    **_table(_first, "as_strided_"),  # which says how axes of one position lie: other changes lose the labels read
    **_table(_first, "native_batch_norm _native_batch_norm_legit_no_training cudnn_batch_norm miopen_batch_norm"),
    **_table(_written, "copy"),
    **_table(_unlike, "zeros_like ones_like empty_like full_like rand_like randn_like zero fill bernoulli"),
    **_table(_unlike, "new_zeros new_ones new_empty new_full new_empty_strided"),
    **_table(_moved, "index index_select gather repeat pixel_shuffle pixel_unshuffle channel_shuffle tril triu take"),
    **_table(_rolled, "roll flip"),
    **_table(_padded, "constant_pad_nd"),
    **_table(_reduced, "mean sum amax amin max min median prod var std var_mean std_mean norm linalg_vector_norm"),
    **_table(_reduced, "logsumexp cumsum cumprod _softmax _log_softmax _safe_softmax softmax log_softmax topk sort"),
    **_table(_layer_normed, "native_layer_norm _fused_rms_norm rms_norm"),
    **_table(_group_normed, "native_group_norm"),
    **_table(_multiplied, "mm bmm addmm baddbmm mv dot addmv"),
    **_table(_complex, "view_as_complex"),
    **_table(_parts_of_complex, "view_as_real"),
    **_table(_pointwise, "hardswish log_sigmoid_forward rrelu_with_noise floor_divide special_expit"),
    **_table(_pointwise, "masked_fill addcmul addcdiv lerp polar complex prelu gelu _prelu_kernel"),
    **_table(_gated, "glu"),
    **_table(_chosen, "where"),
}
BY_START: dict[str, Rule] = dict.fromkeys(
    (
        "upsample",
        "_upsample",
        "avg_pool",
        "_adaptive_avg_pool",
        "adaptive_",
        "max_pool",
        "reflection_pad",
        "replication_pad",
    ),
    _spatial,
)
