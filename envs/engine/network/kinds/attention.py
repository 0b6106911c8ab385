"""torch's multi-head attention, whose heads go as whole: the projections into heads, and the one out of them."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout, linear, pad, scaled_dot_product_attention

from envs.engine.network.channels import Side
from envs.engine.network.kinds.layer_kind import ChannelAxis, LayerKind, Widths


class HeadedAttention(nn.MultiheadAttention):
    """``nn.MultiheadAttention`` with as many heads as its weights hold, which need not add up to its width.

    Same parameters, same names, same outputs; its output projection is called as the module it is. torch's own class
    becomes this one by :func:`with_own_heads`.
    """

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Do as ``nn.MultiheadAttention.forward``.

        Raises:
            RuntimeError: ``is_causal`` without a mask.
        """
        if is_causal and attn_mask is None:
            raise RuntimeError("is_causal is a hint on attn_mask, which is missing")
        batched = query.ndim == 3
        order = (0, 1) if batched and not self.batch_first else (0, 0)
        tokens = [(each if batched else each.unsqueeze(0)).transpose(*order) for each in (query, key, value)]
        if not batched and key_padding_mask is not None:
            key_padding_mask = key_padding_mask.unsqueeze(0)
        causal = is_causal and key_padding_mask is None and not need_weights
        masks = (None, None) if causal else (key_padding_mask, attn_mask)
        mixed, weights = self.attend(tokens, masks, causal, need_weights)
        output = self.out_proj(mixed).transpose(*order)
        if weights is not None and average_attn_weights:
            weights = weights.mean(1)
        return (output, weights) if batched else (output.squeeze(0), None if weights is None else weights.squeeze(0))

    def attend(
        self, tokens: list[Tensor], masks: tuple[Tensor | None, Tensor | None], causal: bool, need_weights: bool
    ) -> tuple[Tensor, Tensor | None]:
        """Return what the heads make of the tokens, beside each other, and their weights.

        Args:
            tokens: queries, keys and values, each of shape ``(n, tokens, features)``.
            masks: of padding, ``(n, keys)``, and of attention, ``(queries, keys)`` or ``(n x heads, queries, keys)``:
                true where nothing is to be attended to, or what is added to the scores.
            causal: whether no query sees later keys.
            need_weights: whether the weights are asked for.

        Returns:
            Shapes ``(n, queries, heads x head_dim)`` and ``(n, heads, queries, keys)``.
        """
        query, key, value = self._project(tokens)
        further = 0
        if self.bias_k is not None and self.bias_v is not None:
            key, value = (
                torch.cat([each, bias.expand(len(each), -1, -1)], 1)
                for each, bias in ((key, self.bias_k), (value, self.bias_v))
            )
            further += 1
        query, key, value = (each.unflatten(2, (-1, self.head_dim)).transpose(1, 2) for each in (query, key, value))
        if self.add_zero_attn:
            key, value = pad(key, (0, 0, 0, 1)), pad(value, (0, 0, 0, 1))
            further += 1
        mask = self._joined_mask(masks, query, further)
        chance = self.dropout if self.training else 0.0
        if not need_weights:
            mixed = scaled_dot_product_attention(query, key, value, mask, chance, causal)
            return mixed.transpose(1, 2).flatten(2), None
        scores = query * self.head_dim**-0.5 @ key.transpose(2, 3)
        weights = dropout((scores if mask is None else scores + mask).softmax(-1), chance)
        return (weights @ value).transpose(1, 2).flatten(2), weights

    def _project(self, tokens: list[Tensor]) -> list[Tensor]:
        packed: Any = self.in_proj_weight
        weights = [self.q_proj_weight, self.k_proj_weight, self.v_proj_weight] if packed is None else packed.chunk(3)
        bias: Any = self.in_proj_bias
        biases = [None] * 3 if bias is None else bias.chunk(3)
        if packed is not None and tokens[0] is tokens[1] is tokens[2]:
            return list(linear(tokens[0], packed, bias).chunk(3, -1))
        return [linear(*each) for each in zip(tokens, weights, biases, strict=True)]

    def _joined_mask(self, masks: tuple[Tensor | None, Tensor | None], query: Tensor, further: int) -> Tensor | None:
        """Return what is added to the scores, with as many ``further`` keys as every query sees."""
        padding, attention = (_added(mask, query.dtype, further) for mask in masks)
        if attention is not None and attention.ndim == 3:
            attention = attention.unflatten(0, (-1, query.shape[1]))
        if padding is None:
            return attention
        padding = padding[:, None, None, :]
        return padding if attention is None else padding + attention


def _added(mask: Tensor | None, dtype: torch.dtype, further: int) -> Tensor | None:
    if mask is None:
        return None
    if mask.dtype is torch.bool:
        mask = torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill_(mask, -torch.inf)
    return pad(mask, (0, further)) if further else mask


def with_own_heads(module: nn.MultiheadAttention) -> None:
    """Have torch's attention go by the heads that its weights hold, in place."""
    module.__class__ = HeadedAttention
    # torch's encoder layers compute attention by themselves where this says that it is the usual one.
    module._qkv_same_embed_dim = False


def is_torchs_attention(module: nn.Module) -> bool:
    """Whether a module is torch's attention, and no class of someone else's made from it."""
    return type(module) in (nn.MultiheadAttention, HeadedAttention)


def _width(module: nn.MultiheadAttention) -> int:
    return module.num_heads * module.head_dim


def _head_dim(module: nn.MultiheadAttention) -> int:
    return module.head_dim


def _three(_: nn.Module) -> int:
    return 3


def _resize(module: nn.MultiheadAttention, widths: Widths) -> None:
    heads, rest = divmod(widths[Side.OUT], module.head_dim)
    if rest:
        raise ValueError(f"{widths[Side.OUT]} channels in heads of {module.head_dim}")
    with_own_heads(module)
    module.num_heads = heads


MULTI_HEAD_ATTENTION = LayerKind(
    name="multi-head attention",
    types=(nn.MultiheadAttention,),
    applies=is_torchs_attention,
    axes={
        "in_proj_weight": {Side.OUT: ChannelAxis(0, parts=_three)},
        "in_proj_bias": {Side.OUT: ChannelAxis(0, parts=_three)},
        "q_proj_weight": {Side.OUT: ChannelAxis(0)},
        "k_proj_weight": {Side.OUT: ChannelAxis(0)},
        "v_proj_weight": {Side.OUT: ChannelAxis(0)},
        "bias_k": {Side.OUT: ChannelAxis(2)},
        "bias_v": {Side.OUT: ChannelAxis(2)},
    },
    outputs=_width,
    run=_head_dim,
    resize=_resize,
    reader="out_proj",
)
