"""A network as the engine sees it: its layers and their channels, and how it is called."""

from envs.engine.network.batches import SampleIndex, concatenate, count_samples, device_of, split, take, to_device
from envs.engine.network.calls import Call, Inputs, batch_size, flatten_outputs, forward, map_tensors, record_calls
from envs.engine.network.channels import ChannelDim, ChannelGroup, ChannelTies, Count, GroupMember, Side, first_units
from envs.engine.network.hooks import hooked
from envs.engine.network.isolation import copy_network, copy_structure, random_state_kept
from envs.engine.network.kinds import LAYER_KINDS, UNPRUNABLE, LayerKind, Product, kind_of
from envs.engine.network.modules import (
    BatchNorm,
    blocks_of,
    channel_axis_of,
    channel_dims_of,
    computes_weights,
    is_plain,
    is_product,
    is_reconstructible,
    multiplier_of,
    reader_of,
    weight_of,
)
from envs.engine.network.samples import Loss, Samples
from envs.engine.network.time_limit import TimeIsUp, time_limit
from envs.engine.network.weight_matrix import as_matrix, by_input_channel, from_matrix

__all__ = [
    "LAYER_KINDS",
    "UNPRUNABLE",
    "BatchNorm",
    "Call",
    "ChannelDim",
    "ChannelGroup",
    "ChannelTies",
    "Count",
    "GroupMember",
    "Inputs",
    "LayerKind",
    "Loss",
    "Product",
    "SampleIndex",
    "Samples",
    "Side",
    "TimeIsUp",
    "as_matrix",
    "batch_size",
    "blocks_of",
    "by_input_channel",
    "channel_axis_of",
    "channel_dims_of",
    "computes_weights",
    "concatenate",
    "copy_network",
    "copy_structure",
    "count_samples",
    "device_of",
    "first_units",
    "flatten_outputs",
    "forward",
    "from_matrix",
    "hooked",
    "is_plain",
    "is_product",
    "is_reconstructible",
    "kind_of",
    "map_tensors",
    "multiplier_of",
    "random_state_kept",
    "reader_of",
    "record_calls",
    "split",
    "take",
    "time_limit",
    "to_device",
    "weight_of",
]
