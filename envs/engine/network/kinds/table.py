"""The kinds of layers that the engine knows. A new kind is a row here; all else reads the table."""

from collections.abc import Mapping, Sequence
from importlib.metadata import entry_points

from torch import nn

from envs.engine.network.kinds.attention import MULTI_HEAD_ATTENTION
from envs.engine.network.kinds.channelwise import GROUP_NORM, LAYER_NORM, NORM, PRELU
from envs.engine.network.kinds.convolutions import (
    CONVOLUTION,
    DEPTHWISE_CONVOLUTION,
    TRANSPOSED_CONVOLUTION,
    TRANSPOSED_DEPTHWISE_CONVOLUTION,
)
from envs.engine.network.kinds.features import EMBEDDING, LINEAR
from envs.engine.network.kinds.layer_kind import LayerKind
from envs.engine.plugins import find

LAYER_KINDS = (
    CONVOLUTION,
    DEPTHWISE_CONVOLUTION,
    TRANSPOSED_CONVOLUTION,
    TRANSPOSED_DEPTHWISE_CONVOLUTION,
    LINEAR,
    EMBEDDING,
    NORM,
    GROUP_NORM,
    LAYER_NORM,
    PRELU,
    MULTI_HEAD_ATTENTION,
)
"""What can be made smaller; one row matches a module."""

UNPRUNABLE: Mapping[type[nn.Module], str] = {
    nn.RNNBase: "is recurrent: its states feed back into all of its gates",
    nn.RNNCellBase: "is recurrent: its states feed back into all of its gates",
    nn.MultiheadAttention: "keeps all heads: it is no class of torch's, but made from one",
}
"""Classes that never lose channels where no row is for a module, with the reason that users read behind its name."""


_own: list[LayerKind] = []


def add_layer_kinds(paths: Sequence[str]) -> None:
    """Make kinds of layers known for the rest of the process, before those of this table.

    Args:
        paths: dotted paths of ``LayerKind`` objects, or names of entry points; what installed packages offer by entry
            points of the group ``amc_search.layer_kinds`` is known without being named.

    Raises:
        ValueError: one cannot be imported, or is no kind of layer.
    """
    for path in (*paths, *(point.name for point in entry_points(group="amc_search.layer_kinds"))):
        kind: object = find("layer_kinds", path, {})
        if not isinstance(kind, LayerKind):
            raise ValueError(f"layer_kinds: {path} is a {type(kind).__name__}, not a LayerKind")
        if kind not in _own:
            _own.append(kind)


def layer_kinds() -> tuple[LayerKind, ...]:
    """Return all kinds that are known; the first row that matches a module counts."""
    return (*_own, *LAYER_KINDS)


def kind_of(module: nn.Module) -> LayerKind | None:
    """Return the row of a module, ``None`` where the engine does not know its kind."""
    return next((kind for kind in layer_kinds() if kind.matches(module)), None)
