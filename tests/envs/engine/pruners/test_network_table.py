import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from envs.constraint import TargetError
from envs.engine.settings import EngineSettings
from envs.engine.torch_engine import TorchEngine
from envs.engine.types import Evaluation, NetworkLayer
from envs.pruning_env import PruningEnv


class Listed(nn.Module):
    """Layers in a list of modules, which is never called itself."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([nn.Conv2d(3, 16, 3), nn.Conv2d(16, 16, 3)])
        self.head = nn.Linear(16, 4)

    def forward(self, images: Tensor) -> Tensor:
        for block in self.blocks:
            images = block(images).relu()
        return self.head(images.mean((2, 3)))


class Mixed(nn.Module):
    """A residual pair, an attention that loses heads, a recurrent layer, a classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, padding=1)
        self.conv = nn.Conv2d(16, 16, 3, padding=1)
        self.head = nn.Conv2d(16, 32, 3)
        self.attention = nn.MultiheadAttention(32, 4, batch_first=True)
        self.recurrent = nn.LSTM(32, 16, batch_first=True)
        self.classifier = nn.Linear(16, 10)

    def forward(self, images: Tensor) -> Tensor:
        features = self.stem(images).relu()
        tokens = self.head(features + self.conv(features)).flatten(2).transpose(1, 2)
        tokens = self.attention(tokens, tokens, tokens)[0]
        return self.classifier(self.recurrent(tokens)[0][:, -1])


def make_engine(granularity: str = "channel", ignore: tuple[str, ...] = ()) -> TorchEngine:
    torch.manual_seed(0)
    inputs = torch.randn(32, 3, 8, 8)
    settings = EngineSettings(granularity=granularity, ignore=ignore)
    return TorchEngine(Mixed().eval(), inputs[:1], inputs, lambda _: Evaluation(0.5, 1.0, 32), settings)


@pytest.fixture(scope="module")
def engine() -> TorchEngine:
    return make_engine()


@pytest.fixture(scope="module")
def half_ignored() -> TorchEngine:
    return make_engine(ignore=("conv",))


def by_name(engine: TorchEngine) -> dict[str, NetworkLayer]:
    return {layer.name: layer for layer in engine.network_layers}


def test_every_layer_is_there_in_the_order_of_the_calls(engine: TorchEngine) -> None:
    names = [name for name in by_name(engine) if not name.startswith("attention.")]
    assert names == ["stem", "conv", "head", "attention", "recurrent", "classifier"]


def test_shares_add_up_to_what_the_engine_counts(engine: TorchEngine) -> None:
    assert sum(layer.flops for layer in engine.network_layers) == engine.cost(engine.dense_strategy).flops


def test_lists_of_modules_count_once() -> None:
    inputs = torch.randn(8, 3, 8, 8)
    engine = TorchEngine(Listed().eval(), inputs[:1], inputs, lambda _: Evaluation(0.5, 1.0, 8))
    assert [layer.name for layer in engine.network_layers] == ["blocks.0", "blocks.1", "head"]
    with FlopCounterMode(display=False) as counter:
        engine.model(inputs[:1])
    assert sum(layer.flops for layer in engine.network_layers) == counter.get_total_flops() / 2


def test_what_is_tied_goes_by_the_same_step(engine: TorchEngine) -> None:
    layers = by_name(engine)
    assert layers["stem"].writes == layers["conv"].writes == layers["conv"].reads == layers["head"].reads
    assert all(layers[name].searched for name in ("stem", "conv", "head"))
    assert layers["attention"].writes == layers["attention.out_proj"].reads


def test_what_is_kept_whole_says_why(half_ignored: TorchEngine) -> None:
    layers = by_name(half_ignored)
    assert layers["conv"].whole == "is ignored"
    assert layers["stem"].whole
    assert "recurrent" in layers["recurrent"].whole
    assert layers["classifier"].whole == "is an output of the network"
    assert not any(layers[name].searched for name in ("stem", "conv", "recurrent", "classifier"))


def test_widths_are_those_of_the_network_that_is_made(engine: TorchEngine) -> None:
    strategy = (0.5,) * len(engine.layers)
    small = engine.prune(strategy)
    for layer in engine.network_layers:
        module = small.get_submodule(layer.name)
        gone = sum(part.channels * (1 - engine.layers[part.step].executed(0.5)) for part in layer.writes)
        if isinstance(module, nn.Conv2d):
            assert module.out_channels == layer.outputs - gone


def test_masks_go_by_weights() -> None:
    layers = by_name(make_engine("element"))
    steps = [layers[name].weight for name in ("stem", "conv", "head", "classifier")]
    assert None not in steps
    assert len(set(steps)) == 4


def test_a_target_out_of_reach_names_what_keeps_its_flops_and_what_could_be_asked_for(
    half_ignored: TorchEngine,
) -> None:
    with pytest.raises(TargetError) as refused:
        PruningEnv(half_ignored, target=0.05)
    message = str(refused.value)
    layers = by_name(half_ignored)
    whole = sum(layer.flops for layer in layers.values() if not layer.searched)
    total = sum(layer.flops for layer in layers.values())
    assert f"{whole / total:.1%} of the FLOPs lie in layers kept whole: " in message
    assert f"conv ({layers['conv'].flops / total:.1%}) is ignored" in message
    smallest = float(message.partition("the smallest that can be reached is ")[2].split()[0])
    PruningEnv(half_ignored, target=smallest)
    with pytest.raises(TargetError):
        PruningEnv(half_ignored, target=smallest - 2e-4)


def test_min_keep_is_blamed_only_for_what_it_keeps(engine: TorchEngine) -> None:
    with pytest.raises(TargetError, match=r"with min_keep=0.9 \(without it 0\.\d+\)") as refused:
        PruningEnv(engine, target=0.05, min_keep=0.9)
    without = float(str(refused.value).partition("without it ")[2].partition(")")[0])
    PruningEnv(engine, target=without, min_keep=1e-6)
