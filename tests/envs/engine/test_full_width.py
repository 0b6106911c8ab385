"""Heads of attention whose code computes their width from all channels: fewer weights, tensors of the same shapes."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from attention_nets import HandWritten, Tabled
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

import amc
from amc.weights.export import WEIGHTS_FILE, weights_bytes
from amc.weights.loading import LoadError
from amc.weights.metadata import Header
from amc.weights.tensor_file import tensor_bytes
from envs.engine.scoring.top1 import metric_scorer
from envs.engine.settings import EngineSettings
from envs.engine.surgery.full_width import FullWidth, Places, keep_width, places_of, set_places
from envs.engine.torch_engine import TorchEngine

HALF = (0.5,) * 4


def tokens(batch: int = 2) -> Tensor:
    return torch.randn(batch, 10, 16, generator=torch.Generator().manual_seed(batch))


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(HandWritten(16), HandWritten(16)).eval()


def engine_of(model: nn.Module, **settings: object) -> TorchEngine:
    plain = {"round_to": 1, "reconstruct": False, "adaptive_bn": 0}
    return TorchEngine(model, tokens(), tokens(64), metric_scorer(lambda _: 0.5), EngineSettings(**plain | settings))


def test_heads_go_from_the_weights_and_not_from_between_them() -> None:
    engine = engine_of(network())
    assert [layer.units for layer in engine.layers] == [4, 64, 4, 64]
    small = engine.prune(HALF)
    for block in small:
        assert (block.qkv.out_features, block.project.in_features) == (24, 8)
        assert block.qkv(tokens()).shape == (2, 10, 48)
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        small(tokens(1))
    assert engine.cost(HALF).flops == pytest.approx(counter.get_total_flops() / 2)


@torch.no_grad()
def test_heads_go_beside_a_table_of_what_they_add() -> None:
    torch.manual_seed(0)
    engine = engine_of(nn.Sequential(Tabled(16)).eval())
    assert [layer.units for layer in engine.layers] == [4, 64]
    small = engine.prune(HALF[:2])
    assert (small[0].qkv.out_features, small[0].table.shape) == (24, (19, 4))
    masked = engine.pruner.mask(engine.kept(HALF[:2]))
    torch.testing.assert_close(small(tokens()), masked(tokens()))


@torch.no_grad()
@pytest.mark.parametrize("repair", ["independent", "compensating"])
def test_repaired_heads_are_closer_to_the_dense_ones(repair: str) -> None:
    errors = []
    for settings in ({}, {"reconstruct": True, "repair": repair}):
        engine = engine_of(network(), **settings)
        small = engine.finish(HALF)
        errors.append(float((small(tokens(64)) - engine.model(tokens(64))).square().mean()))
    assert errors[1] < 0.8 * errors[0]


@torch.no_grad()
def test_places_are_saved_and_a_pruned_network_is_left_whole_there(tmp_path: Path) -> None:
    small = engine_of(network()).prune(HALF)
    (tmp_path / WEIGHTS_FILE).write_bytes(weights_bytes(small, Header((1, 10, 16))))
    loaded = amc.load(tmp_path, model=network())
    assert places_of(loaded) == places_of(small)
    torch.testing.assert_close(loaded(tokens()), small(tokens()))
    again = engine_of(loaded)
    assert [layer.units for layer in again.layers] == [32, 32]
    smaller = again.prune((0.5, 0.5))
    masked = again.pruner.mask(again.kept((0.5, 0.5)))
    torch.testing.assert_close(smaller(tokens()), masked(tokens()))
    assert sum(isinstance(module, FullWidth) for module in smaller.modules()) == 4


@pytest.mark.parametrize(
    ("places", "reason"),
    [
        ({"0.norm1": Places((0, 1))}, "LayerNorm cannot keep its width"),
        ({"9": Places((0, 1))}, "no layer 9"),
        ({"0.down": Places((0, 1))}, "2 places for 64 channels"),
        ({"0.down": Places((), tuple(range(16)), 15)}, "16 places for 16 channels"),
        ({"0.down": Places((), (*range(15), 3), 99)}, "16 places for 16 channels"),
    ],
)
def test_forged_places_are_refused(tmp_path: Path, places: dict[str, Places], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        set_places(network(), places)
    with pytest.raises(LoadError, match="refused"):
        _load_forged(tmp_path, places)


def _load_forged(tmp_path: Path, places: dict[str, Places]) -> None:
    tensors = {name: tensor.clone() for name, tensor in network().state_dict().items()}
    header = replace(Header((1, 10, 16)), places=places)
    (tmp_path / WEIGHTS_FILE).write_bytes(tensor_bytes(tensors, header.to_metadata()))
    amc.load(tmp_path, model=network())


def test_a_layer_picks_and_places_its_channels() -> None:
    torch.manual_seed(0)
    layer, images = nn.Conv2d(2, 3, 3, padding=1), torch.randn(2, 5, 4, 4)
    expected = torch.zeros(2, 6, 4, 4)
    expected[:, [0, 2, 5]] = layer(images[:, [1, 4]])
    keep_width(layer, Places((1, 4), (0, 2, 5), 6))
    torch.testing.assert_close(layer(images), expected)
