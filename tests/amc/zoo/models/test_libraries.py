"""Networks of timm and torchvision. What needs the packages is skipped where they are missing or do not fit torch."""

import importlib
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn

import amc
from amc.config.schema import ModelConfig
from amc.errors import ConfigError, StorageError
from amc.run.publish import weights_header
from amc.weights.export import WEIGHTS_FILE, weights_bytes
from amc.weights.loading import LoadError
from amc.weights.metadata import Header, ModelSpec
from amc.zoo.data.dataset import Normalization, Split, Splits
from amc.zoo.models.registry import LIBRARIES, TARGETS, build_model, timm, torchvision
from envs.engine.scoring.top1 import metric_scorer
from envs.engine.settings import EngineSettings
from envs.engine.torch_engine import TorchEngine

SMALL = {"timm": "test_resnet", "torchvision": "squeezenet1_1"}


def needs(library: str) -> Any:  # noqa: ANN401  the package
    try:
        return importlib.import_module(library)
    except (ImportError, RuntimeError) as error:
        return pytest.skip(f"{library}: {error}")


class FakeNet(nn.Module):
    """As torchvision's: a stem for colours, a body, a head."""

    def __init__(self, num_classes: int = 1000, fill: float = 0.0) -> None:
        super().__init__()
        self.stem, self.body, self.head = nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(4, 4, 1), nn.Linear(4, num_classes)
        for number, parameter in enumerate(self.parameters()):
            nn.init.constant_(parameter, fill + number)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(self.stem(images)).mean((2, 3)))


@pytest.fixture
def fake_torchvision(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    models: Any = ModuleType("torchvision.models")
    models.list_models = lambda **_: ["fakenet"]
    models.get_model = lambda _, weights, **options: FakeNet(**options, fill=100.0 if weights else 0.0)
    package: Any = ModuleType("torchvision")
    package.models = models
    monkeypatch.setitem(sys.modules, "torchvision", package)
    return models


@pytest.mark.usefixtures("fake_torchvision")
def test_published_weights_are_taken_where_they_fit() -> None:
    net = torchvision.build("fakenet", 10, 3, pretrained=True)
    assert torch.equal(net.stem.weight, torch.full((4, 3, 3, 3), 100.0))
    assert torch.equal(net.body.bias, torch.full((4,), 103.0))
    assert net.head.weight.shape == (10, 4)
    assert torch.equal(net.head.weight, torch.full((10, 4), 4.0))
    assert torch.equal(torchvision.build("fakenet", 1000, 3, pretrained=True).head.bias, torch.full((1000,), 105.0))


@pytest.mark.parametrize("channels", [1, 2, 5])
@pytest.mark.usefixtures("fake_torchvision")
def test_a_new_stem_says_of_grey_images_what_the_published_one_says(channels: int) -> None:
    net = torchvision.build("fakenet", 10, channels, pretrained=True)
    grey = torch.rand(2, 1, 6, 6)
    expected = FakeNet(fill=100.0).stem(grey.expand(2, 3, 6, 6))
    torch.testing.assert_close(net.stem(grey.expand(2, channels, 6, 6)), expected)
    assert net.stem.in_channels == channels


def test_weights_that_cannot_be_had_are_one_line(fake_torchvision: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(_: str, weights: str | None, **options: Any) -> nn.Module:  # noqa: ANN401
        if weights:
            raise OSError("no route to host\nand more")
        return FakeNet(**options)

    monkeypatch.setattr(fake_torchvision, "get_model", failing)
    with pytest.raises(
        StorageError, match=r"cannot download .* fakenet \(no route to host\); model.checkpoint"
    ) as error:
        torchvision.build("fakenet", 10, 3, pretrained=True)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("library", sorted(LIBRARIES))
def test_a_missing_package_is_one_line(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ConfigError, match=rf"model={library} needs {library}: pip install 'amc-search\[zoo\]'$"):
        LIBRARIES[library](SMALL[library], 10, 3)


def test_a_package_for_another_torch_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: str) -> ModuleType:
        raise RuntimeError("operator torchvision::nms does not exist")

    monkeypatch.setattr(importlib, "import_module", broken)
    with pytest.raises(ConfigError, match=r"does not fit the installed torch \(operator torchvision::nms"):
        timm.build("test_resnet", 10, 3)


@pytest.mark.usefixtures("fake_torchvision")
def test_a_name_is_not_an_address() -> None:
    with pytest.raises(ConfigError, match="did you mean fakenet"):
        torchvision.build("fakenets", 10, 3)
    package: Any = ModuleType("timm")
    package.list_models = lambda: ["resnet18"]
    for name in ("hf_hub:someone/resnet18", "hf-hub:someone/resnet18", "../resnet18", "local-dir:resnet18"):
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(sys.modules, "timm", package)
            with pytest.raises(ConfigError, match="no such network"):
                timm.build(name, 10, 3)


def test_what_else_a_network_of_timm_takes_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    package: Any = ModuleType("timm")
    package.list_models = lambda: ["vit_tiny"]
    asked: dict[str, Any] = {}

    def create_model(_: str, **options: Any) -> nn.Module:  # noqa: ANN401
        asked.update(options)
        return nn.Identity()

    package.create_model = create_model
    monkeypatch.setitem(sys.modules, "timm", package)
    timm.build("vit_tiny", 10, 1, img_size=8)
    assert asked == {"pretrained": False, "num_classes": 10, "in_chans": 1, "img_size": 8}


@pytest.mark.parametrize(("more", "known"), [({}, True), ({"img_size": 8}, False)])
def test_files_name_only_networks_that_their_name_builds(more: dict[str, int], known: bool) -> None:
    split = Split(torch.zeros(2, 1, 8, 8, dtype=torch.uint8), torch.tensor([0, 1]))
    splits = Splits(split, split, split, split, 2, Normalization(torch.zeros(1, 1, 1, 1), torch.ones(1, 1, 1, 1)))
    model = ModelConfig(name="vit_tiny", _target_="amc.zoo.models.timm.build", args={"name": "vit_tiny", **more})
    assert weights_header(model, splits).model == (ModelSpec("timm/vit_tiny", 2, 1) if known else None)


def test_configurations_name_the_builders() -> None:
    assert TARGETS == {"amc.zoo.models.timm.build": "timm", "amc.zoo.models.torchvision.build": "torchvision"}


@pytest.mark.parametrize("library", sorted(LIBRARIES))
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_networks_take_the_datas_channels_and_classes(library: str, channels: int) -> None:
    needs(library)
    net = build_model(f"{library}/{SMALL[library]}", 7, channels).eval()
    assert net(torch.zeros(2, channels, 64, 64)).shape == (2, 7)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_a_second_head_is_left_out(name: str) -> None:
    needs("torchvision")
    net = build_model(f"torchvision/{name}", 7, 1).train()
    assert isinstance(net(torch.zeros(2, 1, 96, 96)), torch.Tensor)


@pytest.mark.parametrize("library", sorted(LIBRARIES))
def test_a_pruned_network_comes_back_by_its_name(library: str, tmp_path: Path) -> None:
    needs(library)
    torch.manual_seed(0)
    dense = build_model(f"{library}/{SMALL[library]}", 7, 1).eval()
    image = torch.randn(1, 1, 64, 64)
    settings = EngineSettings(reconstruct=False, adaptive_bn=0)
    engine = TorchEngine(dense, image, image, metric_scorer(lambda _: 0.5), settings)
    small = engine.prune(tuple(0.5 for _ in engine.layers))
    header = Header((1, 1, 64, 64), ModelSpec(f"{library}/{SMALL[library]}", 7, 1))
    (tmp_path / WEIGHTS_FILE).write_bytes(weights_bytes(small, header))
    loaded = amc.load(tmp_path)
    with torch.no_grad():
        torch.testing.assert_close(loaded(image), small(image))


def test_a_file_cannot_ask_for_any_amount_of_memory(tmp_path: Path) -> None:
    header = Header((1, 1, 64, 64), ModelSpec("torchvision/vgg16", 1 << 20, 1))
    (tmp_path / WEIGHTS_FILE).write_bytes(weights_bytes(nn.Linear(1, 1), header))
    with pytest.raises(LoadError, match="more than 65536 classes"):
        amc.load(tmp_path)
