"""Residual blocks that go: searched, saved, brought back, exported."""

from pathlib import Path

import pytest
import torch
from torch import nn

import amc
from amc.weights.export import pt2_bytes
from amc.weights.loading import LoadError, read_header
from envs.engine.settings import EngineSettings
from envs.engine.surgery.passing_on import PassedOn

IMAGES = torch.randn(40, 3, 6, 6, generator=torch.Generator().manual_seed(1))
LABELS = torch.arange(40) % 4


class Attention(nn.Module):
    """A block whose code goes by a number of heads, which the file has to hold."""

    def __init__(self, width: int = 24, heads: int = 6) -> None:
        super().__init__()
        self.heads = heads
        self.norm, self.qkv, self.out = nn.LayerNorm(width), nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        query, key, value = self.qkv(self.norm(x)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = torch.nn.functional.scaled_dot_product_attention(query, key, value)
        out: torch.Tensor = x + self.out(mixed.transpose(1, 2).flatten(2))
        return out


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed, self.blocks = nn.Linear(18, 24), nn.Sequential(*(Attention() for _ in range(3)))
        self.head = nn.Linear(24, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.head(self.blocks(self.embed(x.transpose(1, 2).flatten(2))).mean(1))
        return out


@pytest.fixture(scope="module")
def result() -> amc.PruneResult:
    torch.manual_seed(0)
    return amc.prune(
        Net(),
        IMAGES[:1],
        calibration=IMAGES,
        validation=(IMAGES, LABELS),
        target=0.4,
        policy="random",
        episodes=4,
        progress=False,
        settings=EngineSettings("channel_block", round_to=1),
    )


@pytest.fixture(scope="module")
def saved(result: amc.PruneResult, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return result.save(tmp_path_factory.mktemp("blocks") / "run")


def test_a_network_without_some_blocks_is_saved_and_comes_back(result: amc.PruneResult, saved: Path) -> None:
    gone = {name for name, keep in result.strategy.items() if not keep}
    assert gone
    assert {name for name, module in result.model.named_modules() if isinstance(module, PassedOn)} == gone
    assert set(read_header(saved).passed) == gone
    loaded = amc.load(saved, model=Net)
    with torch.no_grad():
        assert torch.equal(loaded(IMAGES), result.model(IMAGES))
    assert "channels and blocks" in (saved / "report.html").read_text()


@pytest.mark.slow
def test_a_network_without_some_blocks_is_exported(result: amc.PruneResult, tmp_path: Path) -> None:
    archive = tmp_path / "pruned.pt2"
    archive.write_bytes(pt2_bytes(result.model, IMAGES[:1]))
    with torch.no_grad():
        found = torch.export.load(archive).module()(IMAGES)
        torch.testing.assert_close(found, result.model(IMAGES), rtol=1e-4, atol=1e-5)


def test_another_network_is_refused(saved: Path) -> None:
    with pytest.raises(LoadError, match="no block blocks"):
        amc.load(saved, model=nn.Linear(4, 4))
