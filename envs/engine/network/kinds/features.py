"""Layers that write features of tokens or samples: linear layers and embeddings."""

from math import prod

from torch import nn
from torch.nn.utils.fusion import fuse_linear_bn_eval

from envs.engine.network.channels import Side
from envs.engine.network.kinds.input_samples import read_tokens, sample_tokens
from envs.engine.network.kinds.layer_kind import ChannelAxis, LayerKind, Product, last_axis


def _macs(module: nn.Linear, _: tuple[int, ...], outputs: tuple[int, ...]) -> float:
    return prod(outputs) * module.in_features


LINEAR = LayerKind(
    name="linear layer",
    types=(nn.Linear,),
    axes={"weight": {Side.OUT: ChannelAxis(0), Side.IN: ChannelAxis(1)}, "bias": {Side.OUT: ChannelAxis(0)}},
    inputs="in_features",
    outputs="out_features",
    channel_axis=last_axis,
    product=Product(_macs, fuse_linear_bn_eval, sample_tokens, read_tokens),
)
EMBEDDING = LayerKind(
    name="embedding",
    types=(nn.Embedding, nn.EmbeddingBag),
    axes={"weight": {Side.OUT: ChannelAxis(1)}},
    outputs="embedding_dim",
    channel_axis=last_axis,
)
