"""One's own criterion, reward, resource, metric, granularity and kind of layer, from outside of the package."""

import sys
from collections.abc import Iterator
from importlib import import_module
from importlib.metadata import PathDistribution
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import nn

import amc
from amc.config.composing import composed_search
from amc.config.validation import validate
from amc.errors import ConfigError
from amc.run.plan import load_data
from envs.engine.network.kinds import table
from envs.engine.plugins import find, is_own, nearest
from envs.engine.settings import EngineSettings
from envs.engine.torch_engine import TorchEngine
from envs.engine.types import Evaluation
from envs.pruning_env import PruningEnv

OWN = """
import torch
from torch import nn
from envs.engine.network.kinds import LayerKind
from envs.engine.network.kinds.channelwise import A_VALUE_EACH
from envs.engine.surgery.granularity import Cut

def largest(weights):
    return weights.abs().amax(-1)

def loss_per_flop(evaluation, cost):
    return -evaluation.loss * cost.flops / 1e6

def energy(cost):
    return 4.6 * cost.flops + 640 * cost.memory

def balanced_accuracy(scores, labels):
    right = scores.argmax(1) == labels
    return float(torch.stack([right[labels == each].float().mean() for each in labels.unique()]).mean())

def pairs(kernel, vector_size, m):
    return Cut(2)

class ChannelScale(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.weight, self.channels = nn.Parameter(torch.rand(channels) + 0.5), channels

    def forward(self, images):
        return images * self.weight[:, None, None]

KIND = LayerKind(
    name="channel scale", types=(ChannelScale,), axes={"weight": A_VALUE_EACH}, inputs="channels", outputs="channels"
)
NUMBER = 3
"""
IMAGES = torch.randn(40, 3, 6, 6, generator=torch.Generator().manual_seed(1))
LABELS = torch.arange(40) % 4


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    (tmp_path / "own_things.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(table, "_own", [])
    yield import_module("own_things")
    del sys.modules["own_things"]


def network(extra: nn.Module | None = None) -> nn.Sequential:
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 16, 3), *([extra] if extra is not None else []), nn.ReLU(), nn.Conv2d(16, 16, 3)]
    return nn.Sequential(*layers, nn.ReLU(), nn.Flatten(), nn.Linear(64, 4)).eval()


def engine(model: nn.Module, **settings: object) -> TorchEngine:
    return TorchEngine(model, IMAGES[:1], IMAGES, lambda _: Evaluation(0.5, 2.0, 40), EngineSettings(**settings))


@pytest.mark.usefixtures("own")
def test_a_criterion() -> None:
    made = engine(network(), criterion="own_things.largest", reconstruct=False)
    reader = network()[2].weight
    assert made.unit_scores(0) == pytest.approx(reader.abs().amax((0, 2, 3)).tolist())


def test_a_reward_and_a_resource(own: ModuleType) -> None:
    env = PruningEnv(engine(network()), reward="own_things.loss_per_flop", resource="own_things.energy", target=0.6)
    reward, outcome = env.score(env.budget.floors)
    assert reward == pytest.approx(-2.0 * outcome["cost"].flops / 1e6)
    assert env.budget.limit == pytest.approx(0.6 * own.energy(env.engine.cost((1.0,) * len(env.engine.layers))))
    assert env.budget.fits(env.budget.floors)


@pytest.mark.usefixtures("own")
def test_a_granularity() -> None:
    made = engine(network(), granularity="own_things.pairs")
    masked = made.prune((0.5,) * len(made.layers))[0].weight.flatten(1)
    pairs = masked[:, :26].unflatten(1, (-1, 2)) == 0
    assert (pairs.all(2) | ~pairs.any(2)).all()
    assert pairs.any()


def test_a_kind_of_layer(own: ModuleType) -> None:
    scaled = network(own.ChannelScale(16))
    whole = engine(scaled)
    known = engine(scaled, layer_kinds=("own_things.KIND",))
    assert len(known.layers) > len(whole.layers)
    small = known.prune((0.5,) * len(known.layers))
    assert small[1].weight.shape == (8,)
    assert small(IMAGES).shape == (40, 4)


@pytest.mark.usefixtures("own")
def test_a_metric(tmp_path: Path) -> None:
    small = ["metric=own_things.balanced_accuracy", "device=cpu", "threads=1", f"cache_dir={tmp_path}"]
    cfg = composed_search(small)
    validate(cfg)
    data = load_data(cfg)
    split = data.splits.search
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10)).eval()
    right = model(data.inputs(split.images)).argmax(1) == split.labels
    by_hand = sum(float(right[split.labels == digit].float().mean()) for digit in range(10)) / 10
    assert data.scorer(split)(model).metric == pytest.approx(by_hand)


def test_all_of_them_in_one_call_of_python(own: ModuleType) -> None:
    result = amc.prune(
        network(),
        IMAGES[:1],
        calibration=(IMAGES, LABELS),
        validation=(IMAGES, LABELS),
        criterion="own_things.largest",
        reward="own_things.loss_per_flop",
        resource="own_things.energy",
        policy="random",
        episodes=3,
        target=0.7,
        progress=False,
    )
    assert own.energy(result.found.cost) <= 0.7 * own.energy(result.dense.cost)


@pytest.mark.usefixtures("own")
@pytest.mark.usefixtures("own")
@pytest.mark.parametrize(
    ("argument", "said"),
    [
        (
            "criterion=own_things.smallest",
            "criterion=own_things.smallest cannot be imported: own_things has no smallest",
        ),
        ("reward=nobodys.reward", "reward=nobodys.reward cannot be imported"),
        ("resource=own_things.NUMBER", "resource=own_things.NUMBER is no function"),
        ("criterion=taylr", "criterion='taylr': choose one of .*; did you mean taylor"),
        ("reward=acuracy", "reward=acuracy: must be one of .*; did you mean accuracy"),
        ("metric=f1", "metric=f1: must be null, or the path of a function"),
    ],
)
def test_what_is_not_there_is_refused(argument: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        validate(composed_search([argument]))


def test_an_installed_package_offers_things_by_name(own: ModuleType, tmp_path: Path) -> None:
    folder = tmp_path / "somebodys-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: somebodys\nVersion: 1.0\n")
    (folder / "entry_points.txt").write_text("[amc_search.criteria]\nlargest = own_things:largest\n")
    assert PathDistribution(folder).name == "somebodys"
    assert is_own("criteria", "largest")
    assert not is_own("rewards", "largest")
    found: object = find("criteria", "largest", {})
    assert found is own.largest
    made = engine(network(), criterion="largest", reconstruct=False)
    assert len(made.unit_scores(0)) == 16


@pytest.mark.parametrize(("typed", "meant"), [("acm", "amc"), ("sca", "sac"), ("optun", "optuna"), ("xyz", "")])
def test_letters_in_each_others_place_are_what_was_meant(typed: str, meant: str) -> None:
    said = nearest(typed, ("amc", "optuna", "random", "sac"))
    assert said == (f"; did you mean {meant}?" if meant else "")
