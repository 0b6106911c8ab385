"""Heads that the code of an attention counts: whole ones go, and the numbers follow."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from attention_nets import Counted, CountedWithin
from torch import Tensor, nn

import amc
from amc.weights.export import WEIGHTS_FILE, weights_bytes
from amc.weights.loading import LoadError
from amc.weights.metadata import Header
from envs.engine.scoring.top1 import metric_scorer
from envs.engine.settings import EngineSettings
from envs.engine.surgery.head_counts import counts_of, set_counts
from envs.engine.torch_engine import TorchEngine
from envs.engine.tracing.digits import numberings


def tokens(batch: int = 1) -> Tensor:
    return torch.randn(batch, 10, 16, generator=torch.Generator().manual_seed(batch))


def network(block: Callable[[int], nn.Module] = Counted) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(block(16), block(16)).eval()


def engine_of(model: nn.Module) -> TorchEngine:
    settings = EngineSettings(round_to=1, reconstruct=False, adaptive_bn=0)
    return TorchEngine(model, tokens(), torch.zeros(1), metric_scorer(lambda _: 0.5), settings)


def kept(engine: TorchEngine, heads: int, keep: float) -> tuple[float, ...]:
    """Keep a share of the layers that have as many units as there are heads, and all of the others."""
    return tuple(keep if layer.units == heads else 1.0 for layer in engine.layers)


@pytest.mark.parametrize(
    ("block", "heads", "numbers"),
    [
        (Counted, 3, {"num_heads": 2, "attn_dim": 16}),
        (CountedWithin, 5, {"attention.num_attention_heads": 3, "attention.all_head_size": 18}),
    ],
)
def test_the_numbers_follow_the_heads(block: Callable[[int], nn.Module], heads: int, numbers: dict[str, int]) -> None:
    model = network(block)
    engine = engine_of(model)
    assert [layer.units for layer in engine.layers].count(heads) == 2
    small = engine.prune(kept(engine, heads, 0.6))
    assert counts_of(small) == {f"{at}.{name}": value for at in (0, 1) for name, value in numbers.items()}
    assert counts_of(model) == {}
    assert small(tokens(2)).shape == (2, 10, 16)


def test_a_head_that_goes_takes_its_query_key_and_value() -> None:
    """Against the dense block with the other heads picked by hand."""
    model = network()
    engine = engine_of(model)
    small, block = engine.prune(kept(engine, 3, 0.67))[0], model[0]
    stays = next(
        pair
        for pair in ([0, 1], [0, 2], [1, 2])
        if torch.equal(small.project.weight, block.project.weight.unflatten(1, (3, 8))[:, pair].flatten(1))
    )
    assert torch.equal(small.qkv.weight, block.qkv.weight.unflatten(0, (3, 3, 8))[:, stays].flatten(0, 2))


def test_what_was_pruned_twice_comes_back(tmp_path: Path) -> None:
    first = engine_of(network())
    second = engine_of(first.prune(kept(first, 3, 0.67)))
    twice = second.prune(kept(second, 2, 0.5))
    assert twice[0].num_heads == 1
    (tmp_path / WEIGHTS_FILE).write_bytes(weights_bytes(twice, Header((1, 10, 16))))
    torch.testing.assert_close(amc.load(tmp_path, model=network())(tokens(3)), twice(tokens(3)))


@pytest.mark.parametrize(
    ("counts", "reason"),
    [
        ({"0.num_heads": 4}, "0.num_heads=4 is not cut from 3"),
        ({"0.heads": 1}, "0.heads=1 is not cut from None"),
        ({"0.training": 1}, "0.training=1 is not cut from None"),
        ({"9.num_heads": 1}, "9.num_heads=1 is not cut from None"),
    ],
)
def test_numbers_that_the_network_does_not_have_are_refused(
    tmp_path: Path, counts: dict[str, int], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValueError, match=reason):
        set_counts(network(), counts)
    monkeypatch.setattr("amc.weights.export.counts_of", lambda _: counts)  # what a forged file would hold
    (tmp_path / WEIGHTS_FILE).write_bytes(weights_bytes(network(), Header((1, 10, 16))))
    with pytest.raises(LoadError, match=reason):
        amc.load(tmp_path, model=network())


@pytest.mark.parametrize("width", [*range(1, 130), 576, 1728, 2304])
def test_every_numbering_tells_all_channels_apart(width: int) -> None:
    for digits in numberings(width):
        assert len(set(zip(*(digit.tolist() for digit in digits), strict=True))) == width


@pytest.mark.parametrize("parts", [1, 2, 3])
@pytest.mark.parametrize("heads", [2, 3, 4, 5, 6, 8, 12, 16])
@pytest.mark.parametrize("dim", [4, 8, 24, 32, 48, 64])
def test_heads_of_usual_sizes_are_told_apart(parts: int, heads: int, dim: int) -> None:
    """What fits in every digit of every numbering is one head of all parts, and nothing else."""
    width = parts * heads * dim
    head = torch.arange(width) // dim % heads == heads - 1
    fits = torch.ones(width, dtype=torch.bool)
    for digits in numberings(width):
        for digit in digits:
            fits &= torch.isin(digit, digit[head])
    assert torch.equal(fits, head)


def test_heads_are_found_where_small_weights_hide_them() -> None:
    """With weights as BERT starts from, attention is a mean over all tokens, and channels seem to go by themselves."""
    model = network(CountedWithin)
    for parameter in model.parameters():
        if parameter.ndim > 1:
            nn.init.normal_(parameter, std=0.02)
    assert [layer.units for layer in engine_of(model).layers].count(5) == 2
