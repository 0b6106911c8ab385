"""torch's attention with heads that go: against torch's own, and against heads that the output projection ignores."""

import copy
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import amc
from amc.weights.export import WEIGHTS_FILE, weights_bytes
from amc.weights.metadata import Header
from amc.weights.resize import resize
from envs.engine.network.channels import Side
from envs.engine.network.kinds.attention import HeadedAttention, with_own_heads
from envs.engine.scoring.top1 import metric_scorer
from envs.engine.settings import EngineSettings
from envs.engine.surgery.compaction import compact
from envs.engine.torch_engine import TorchEngine

WIDTH, HEADS, QUERIES, KEYS, BATCH = 12, 4, 5, 7, 3
OPTIONS = {
    "packed": {},
    "no bias": {"bias": False},
    "separate": {"kdim": 6, "vdim": 8},
    "further keys": {"add_bias_kv": True, "add_zero_attn": True},
}


def attention(options: dict[str, object], batch_first: bool) -> nn.MultiheadAttention:
    torch.manual_seed(0)
    module = nn.MultiheadAttention(WIDTH, HEADS, batch_first=batch_first, **options).eval()
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.5)
    return module


def masks() -> Iterator[dict[str, Tensor | bool]]:
    padding = torch.zeros(BATCH, KEYS, dtype=torch.bool)
    padding[1, 4:] = True
    causal = torch.ones(QUERIES, KEYS, dtype=torch.bool).triu(1)
    by_head = torch.randn(BATCH * HEADS, QUERIES, KEYS)
    yield {}
    yield {"key_padding_mask": padding}
    yield {"attn_mask": causal}
    yield {"attn_mask": torch.randn(QUERIES, KEYS)}
    yield {"attn_mask": by_head}
    yield {"attn_mask": torch.zeros(QUERIES, KEYS).masked_fill(causal, -torch.inf), "is_causal": True}
    yield {"key_padding_mask": padding, "attn_mask": causal}


def tokens(module: nn.MultiheadAttention, batched: bool = True) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(1)
    sizes = ((QUERIES, WIDTH), (KEYS, module.kdim), (KEYS, module.vdim))
    found = tuple(torch.randn(BATCH, *size, generator=generator) for size in sizes)
    if not batched:
        return tuple(each[0] for each in found)
    return found if module.batch_first else tuple(each.transpose(0, 1) for each in found)


@torch.no_grad()
@pytest.mark.parametrize(("options", "batch_first"), list(product(OPTIONS, (True, False))))
def test_outputs_and_weights_are_those_of_torch(options: str, batch_first: bool) -> None:
    module = attention(OPTIONS[options], batch_first)
    own = copy.deepcopy(module)
    with_own_heads(own)
    for mask, weights in product(masks(), ({}, {"need_weights": False}, {"average_attn_weights": False})):
        expected, found = (each(*tokens(module), **mask, **weights) for each in (module, own))
        torch.testing.assert_close(found, expected)
    torch.testing.assert_close(own(*tokens(module, False)), module(*tokens(module, False)))
    assert own.state_dict().keys() == module.state_dict().keys()


@torch.no_grad()
@pytest.mark.parametrize(("options", "batch_first"), list(product(OPTIONS, (True, False))))
def test_smaller_attention_is_that_whose_other_heads_are_not_read(options: str, batch_first: bool) -> None:
    module = attention(OPTIONS[options], batch_first)
    channels = torch.tensor([0, 1, 2, 6, 7, 8])
    small = compact(nn.ModuleList([module]), {("0", Side.OUT): channels, ("0.out_proj", Side.IN): channels})[0]
    assert small.num_heads == 2
    assert sum(parameter.numel() for parameter in small.parameters()) < sum(p.numel() for p in module.parameters())
    masked = copy.deepcopy(module)
    gone = sorted(set(range(WIDTH)) - set(channels.tolist()))
    masked.out_proj.weight[:, gone] = 0.0
    torch.testing.assert_close(small(*tokens(module))[0], masked(*tokens(module))[0])
    fresh = attention(OPTIONS[options], batch_first)
    resize(fresh, {name: tensor.shape for name, tensor in small.state_dict().items()})
    fresh.load_state_dict(small.state_dict())
    torch.testing.assert_close(fresh(*tokens(module))[0], small(*tokens(module))[0])


def test_encoder_layers_do_not_take_a_short_cut_past_the_heads() -> None:
    """torch computes whole encoder layers at once in eval mode, from weights of the usual shapes."""
    layer = nn.TransformerEncoderLayer(WIDTH, HEADS, 24, batch_first=True)
    model = nn.TransformerEncoder(layer, 2).eval()
    example = torch.randn(2, 6, WIDTH)
    settings = EngineSettings(round_to=1, reconstruct=False, adaptive_bn=0)
    engine = TorchEngine(model, example, example, metric_scorer(lambda _: 0.5), settings)
    assert [layer.units for layer in engine.layers] == [HEADS, 24, HEADS, 24]
    small = engine.prune((0.5,) * 4)
    masked = engine.pruner.mask(engine.kept((0.5,) * 4))
    with torch.no_grad():
        torch.testing.assert_close(small(example), masked(example))
    assert [m.num_heads for m in small.modules() if isinstance(m, HeadedAttention)] == [2, 2]


def test_a_class_made_from_torchs_keeps_its_heads(tmp_path: Path) -> None:
    class Own(nn.MultiheadAttention):
        pass

    class Block(nn.Module):
        def __init__(self, kind: type[nn.MultiheadAttention]) -> None:
            super().__init__()
            self.attention, self.mlp = (
                kind(WIDTH, HEADS, batch_first=True),
                nn.Sequential(nn.Linear(WIDTH, 16), nn.GELU()),
            )
            self.out = nn.Linear(16, WIDTH)

        def forward(self, x: Tensor) -> Tensor:
            return self.out(self.mlp(x + self.attention(x, x, x)[0]))

    example = torch.randn(2, 6, WIDTH)
    settings = EngineSettings(round_to=1, reconstruct=False, adaptive_bn=0)
    engine = TorchEngine(Block(Own).eval(), example, example, metric_scorer(lambda _: 0.5), settings)
    assert [layer.units for layer in engine.layers] == [16]
    assert "no class of torch's" in engine.unprunable["attention"]
    torchs = Block(nn.MultiheadAttention).eval()
    engine = TorchEngine(torchs, example, example, metric_scorer(lambda _: 0.5), settings)
    small = engine.prune((0.5,) * len(engine.layers))
    (tmp_path / WEIGHTS_FILE).write_bytes(weights_bytes(small, Header(())))
    loaded = amc.load(tmp_path, model=torchs)
    assert type(torchs.attention) is nn.MultiheadAttention
    with torch.no_grad():
        torch.testing.assert_close(loaded(example), small(example))
