"""Transformers and their kin."""

import torch
from net_builder import Case, Net
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

TOKENS, PICTURE = ((10, 16),), ((3, 16, 16),)


class MultiHead(nn.Module):
    """Pre-norm block around ``nn.MultiheadAttention``."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1, self.attention = nn.LayerNorm(width), nn.MultiheadAttention(width, 4, batch_first=True)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, tokens: Tensor) -> Tensor:
        normed = self.norm1(tokens)
        tokens = tokens + self.attention(normed, normed, normed, need_weights=False)[0]
        return tokens + self.mlp(self.norm2(tokens))


class HandWritten(nn.Module):
    """Attention with one projection to query, key and value, as in timm."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.project = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        b, n, c = tokens.shape
        query, key, value = self.qkv(self.norm1(tokens)).reshape(b, n, 3, 4, c // 4).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(query, key, value, self.added(n)).transpose(1, 2).reshape(b, n, c)
        tokens = tokens + self.project(mixed)
        return tokens + self.down(F.gelu(self.up(self.norm2(tokens))))

    def added(self, _: int) -> Tensor | None:
        """Return what is added to scores."""
        return None


class Tabled(HandWritten):
    """The same with a table of what every head adds by distance, as in Swin."""

    def __init__(self, width: int) -> None:
        super().__init__(width)
        self.table = nn.Parameter(torch.randn(19, 4))

    def added(self, tokens: int) -> Tensor:
        place = torch.arange(tokens)
        return self.table[place[:, None] - place + 9].permute(2, 0, 1)


class Separate(nn.Module):
    """Attention with three projections, and as many heads as the tensors hold."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.out = nn.Linear(width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        query, key, value = (
            f(tokens).unflatten(2, (-1, 4)).transpose(1, 2) for f in (self.query, self.key, self.value)
        )
        weights = (query @ key.transpose(2, 3) / 2).softmax(-1)
        return tokens + self.out((weights @ value).transpose(1, 2).flatten(2))


class Counted(nn.Module):
    """Attention that keeps how many heads it has, and how wide they are together, as timm's does; three heads."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.num_heads, self.head_dim, self.attn_dim = 3, 8, 24
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.project = nn.Linear(width, 3 * self.attn_dim), nn.Linear(self.attn_dim, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        b, n, _ = tokens.shape
        parts = self.qkv(self.norm1(tokens)).reshape(b, n, 3, self.num_heads, self.head_dim)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).reshape(b, n, self.attn_dim)
        tokens = tokens + self.project(mixed)
        return tokens + self.down(F.gelu(self.up(self.norm2(tokens))))


class SelfAttention(nn.Module):
    """Three projections to five heads of six channels; what reads them is elsewhere, as in Hugging Face's BERT."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.num_attention_heads, self.attention_head_size, self.all_head_size = 5, 6, 30
        self.query, self.key, self.value = (nn.Linear(width, self.all_head_size) for _ in range(3))

    def forward(self, tokens: Tensor) -> Tensor:
        shape = (*tokens.shape[:-1], self.num_attention_heads, self.attention_head_size)
        query, key, value = (f(tokens).view(shape).transpose(1, 2) for f in (self.query, self.key, self.value))
        weights = (query @ key.transpose(2, 3) / self.attention_head_size**0.5).softmax(-1)
        return (weights @ value).transpose(1, 2).reshape(*tokens.shape[:-1], self.all_head_size)


class CountedWithin(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.width, self.norm = width, nn.LayerNorm(width)
        self.attention, self.out = SelfAttention(width), nn.Linear(30, width)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.norm(tokens + self.out(self.attention(tokens)))


class GroupedQueries(nn.Module):
    """Two queries to every key and value, positions by rotation, and a gated layer behind, as in Llama."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.RMSNorm(width), nn.RMSNorm(width)
        self.query, self.out = nn.Linear(width, 24, bias=False), nn.Linear(24, width, bias=False)
        self.key, self.value = nn.Linear(width, 12, bias=False), nn.Linear(width, 12, bias=False)
        self.gate, self.up, self.down = nn.Linear(width, 40), nn.Linear(width, 40), nn.Linear(40, width)

    def forward(self, tokens: Tensor) -> Tensor:
        normed = self.norm1(tokens)
        query, key, value = (
            f(normed).unflatten(2, (-1, 4)).transpose(1, 2) for f in (self.query, self.key, self.value)
        )
        query, key, value = rotated(query), rotated(key).repeat_interleave(2, 1), value.repeat_interleave(2, 1)
        mixed = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        tokens = tokens + self.out(mixed.transpose(1, 2).flatten(2))
        normed = self.norm2(tokens)
        return tokens + self.down(F.silu(self.gate(normed)) * self.up(normed))


def rotated(heads: Tensor) -> Tensor:
    angles = torch.arange(heads.shape[2])[:, None] / 10.0 ** torch.arange(2)
    cos, sin = angles.cos().repeat(1, 2), angles.sin().repeat(1, 2)
    return heads * cos + torch.cat([-heads[..., 2:], heads[..., :2]], -1) * sin


class ConvNeXt(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.depthwise, self.norm = nn.Conv2d(width, width, 7, padding=3, groups=width), nn.LayerNorm(width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.gamma = nn.Parameter(torch.full((width,), 1e-6))

    def forward(self, images: Tensor) -> Tensor:
        features = self.norm(self.depthwise(images).permute(0, 2, 3, 1))
        return images + (self.gamma * self.down(F.gelu(self.up(features)))).permute(0, 3, 1, 2)


class ViT(nn.Module):
    def __init__(self, block: type[nn.Module]) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 16, 4, 4)
        self.class_token = nn.Parameter(torch.randn(1, 1, 16))
        self.position = nn.Parameter(torch.randn(1, 17, 16))
        self.blocks = nn.Sequential(block(16), block(16))
        self.norm, self.head = nn.LayerNorm(16), nn.Linear(16, 4)

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.patches(images).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.class_token.expand(len(tokens), -1, -1), tokens], 1) + self.position
        return self.head(self.norm(self.blocks(tokens))[:, 0])


def encoder() -> nn.Module:
    layer = nn.TransformerEncoderLayer(16, 4, 64, batch_first=True, norm_first=True)
    body = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
    return Net(lambda net, tokens: net.head(net.body(tokens).mean(1)), body=body, head=nn.Linear(16, 4))


def mixer() -> nn.Module:
    def forward(net: Net, tokens: Tensor) -> Tensor:
        tokens = tokens + net.across(net.norm(tokens).transpose(1, 2)).transpose(1, 2)
        return net.head((tokens + net.within(tokens)).mean(1))

    across = nn.Sequential(nn.Linear(10, 32), nn.GELU(), nn.Linear(32, 10))
    within = nn.Sequential(nn.Linear(16, 32), nn.GELU(), nn.Linear(32, 16))
    return Net(forward, norm=nn.LayerNorm(16), across=across, within=within, head=nn.Linear(16, 4))


def language() -> nn.Module:
    """A language model whose output layer is its embedding."""

    def forward(net: Net, tokens: Tensor) -> Tensor:
        return net.logits(net.block(net.embedding(tokens) + net.position.weight[: tokens.shape[1]]))

    layers = {
        "embedding": nn.Embedding(20, 16),
        "position": nn.Embedding(12, 16),
        "logits": nn.Linear(16, 20, bias=False),
    }
    net = Net(forward, block=MultiHead(16), **layers)
    net.logits.weight = net.embedding.weight
    return net


def llama() -> nn.Module:
    blocks = (GroupedQueries(16), GroupedQueries(16), nn.RMSNorm(16))
    return nn.Sequential(nn.Embedding(20, 16), *blocks, nn.Linear(16, 20, bias=False))


def bag_of_words() -> nn.Module:
    """A sentence as the mean of its words: torch-pruning does not know the layer that takes it."""
    return nn.Sequential(nn.EmbeddingBag(20, 16), nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 4))


def convnext() -> nn.Module:
    head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LayerNorm(16), nn.Linear(16, 4))
    return nn.Sequential(nn.Conv2d(3, 16, 4, 4), ConvNeXt(16), ConvNeXt(16), *head)


ATTENTION: dict[str, Case] = {
    "multi_head_attention": Case(lambda: nn.Sequential(MultiHead(16), MultiHead(16)), TOKENS),
    "hand_written_attention": Case(lambda: nn.Sequential(HandWritten(16), HandWritten(16)), TOKENS),
    "separate_projections": Case(lambda: nn.Sequential(Separate(16), Separate(16)), TOKENS),
    "counted_heads": Case(lambda: nn.Sequential(Counted(16), Counted(16)), TOKENS),
    "counted_heads_within": Case(lambda: nn.Sequential(CountedWithin(16), CountedWithin(16)), TOKENS),
    "vit": Case(lambda: ViT(MultiHead), PICTURE),
    "vit_counted": Case(lambda: ViT(Counted), PICTURE),
    "vit_hand_written": Case(lambda: ViT(HandWritten), PICTURE),
    "encoder_layers": Case(encoder, TOKENS),
    "convnext": Case(convnext, PICTURE),
    "mixer": Case(mixer, TOKENS),
    "language_model": Case(language, ((12,),), target=0.6, classes=20),
    "grouped_queries": Case(llama, ((12,),), classes=20),
    "bag_of_words": Case(bag_of_words, ((12,),), classes=20),
}
