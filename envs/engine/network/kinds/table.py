"""The kinds of layers that the engine knows. A new kind is a row here; all else reads the table."""

from collections.abc import Mapping

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


def kind_of(module: nn.Module) -> LayerKind | None:
    """Return the row of a module, ``None`` where the engine does not know its kind."""
    return next((kind for kind in LAYER_KINDS if kind.matches(module)), None)
