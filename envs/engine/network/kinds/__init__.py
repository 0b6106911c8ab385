"""The table of layer kinds: where a layer has its channels, what it remembers of them, what it costs."""

from envs.engine.network.kinds.channelwise import BATCH_NORMS
from envs.engine.network.kinds.layer_kind import ChannelAxis, LayerKind, Product, Widths
from envs.engine.network.kinds.table import LAYER_KINDS, UNPRUNABLE, add_layer_kinds, kind_of, layer_kinds

__all__ = [
    "BATCH_NORMS",
    "LAYER_KINDS",
    "UNPRUNABLE",
    "ChannelAxis",
    "LayerKind",
    "Product",
    "Widths",
    "add_layer_kinds",
    "kind_of",
    "layer_kinds",
]
