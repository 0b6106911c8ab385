import json
import os
import pickle
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from amc.config.checkpoint_paths import MAX_BYTES
from amc.weights.export import WEIGHTS_FILE, weights_bytes
from amc.weights.loading import LoadError, load, read_header
from amc.weights.metadata import Header, ModelSpec
from amc.zoo.models.registry import MODELS, build_model
from envs.engine.scoring.top1 import Top1Scorer
from envs.engine.torch_engine import TorchEngine

WIDTH, CLASSES = 0.25, 10
SHAPE = (1, 1, 16, 16)
Tensors = dict[str, Tensor]


class OwnNet(nn.Module):
    """What the zoo has not: grouped and transposed convolutions, group norm, layer norm, PReLU, biases."""

    def __init__(self, channels: int = 16) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, channels, 3, padding=1),
            nn.GroupNorm(channels // 4, channels),  # pruning takes whole groups
            nn.PReLU(channels),
            nn.Conv2d(channels, channels, 3, padding=1, groups=4),
            nn.ConvTranspose2d(channels, channels // 2, 2, stride=2, groups=2),
            nn.BatchNorm2d(channels // 2, affine=False),
        )
        self.norm = nn.LayerNorm(channels // 2)
        self.head = nn.Linear(channels // 2, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.norm(self.body(images).mean((2, 3))))
        return logits


def header_of(name: str | None) -> Header:
    spec = None if name is None else ModelSpec(name, CLASSES, SHAPE[1], WIDTH)
    return Header(input_shape=SHAPE, model=spec, mean=(33.0,), std=(78.0,))


def written(folder: Path, model: nn.Module, name: str | None) -> Path:
    path = folder / WEIGHTS_FILE
    path.write_bytes(weights_bytes(model, header_of(name)))
    return path


def pruned_by_engine(name: str) -> tuple[nn.Module, float]:
    """A network of the zoo with ratios drawn at random, and its FLOPs by the engine's arithmetic."""
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    images = torch.randn(32, *SHAPE[1:], generator=generator)
    score = Top1Scorer(images, torch.zeros(32, dtype=torch.int64))
    engine = TorchEngine(build_model(name, CLASSES, SHAPE[1], WIDTH).eval(), images[:1], images, score)
    strategy = tuple((0.2 + 0.8 * torch.rand(len(engine.layers), generator=generator)).tolist())
    return engine.prune(strategy).eval(), engine.cost(strategy).flops


@pytest.mark.parametrize("name", MODELS)
def test_every_pruned_model_of_the_zoo_comes_back(tmp_path: Path, name: str) -> None:
    pruned, flops = pruned_by_engine(name)
    written(tmp_path, pruned, name)
    loaded = load(tmp_path)
    images = torch.randn(5, *SHAPE[1:])
    with torch.inference_mode():
        torch.testing.assert_close(loaded(images), pruned(images), rtol=0, atol=0)
    assert not loaded.training
    assert all(parameter.requires_grad for parameter in loaded.parameters())
    assert str(loaded) == str(pruned)
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        loaded(images[:1])
    assert counter.get_total_flops() / 2 == flops


def test_a_loaded_network_can_be_trained_further(tmp_path: Path) -> None:
    pruned, _ = pruned_by_engine("resnet20")
    written(tmp_path, pruned, "resnet20")
    loaded = load(tmp_path).train()
    loaded(torch.randn(4, *SHAPE[1:])).sum().backward()
    assert all(parameter.grad is not None for parameter in loaded.parameters())


@pytest.mark.parametrize("given", [OwnNet, OwnNet()], ids=["factory", "instance"])
def test_networks_of_ones_own_come_back(tmp_path: Path, given: nn.Module | Callable[[], nn.Module]) -> None:
    small = OwnNet(channels=8).eval()
    written(tmp_path, small, None)
    loaded = load(tmp_path, model=given)
    images = torch.randn(3, *SHAPE[1:])
    with torch.inference_mode():
        torch.testing.assert_close(loaded(images), small(images), rtol=0, atol=0)
    assert loaded is not given
    assert str(loaded) == str(small)


def test_the_instance_given_is_not_changed(tmp_path: Path) -> None:
    dense = OwnNet()
    before = {name: tensor.clone() for name, tensor in dense.state_dict().items()}
    written(tmp_path, OwnNet(channels=8), None)
    load(tmp_path, model=dense)
    after = dense.state_dict()
    assert dense.training
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())


def test_a_network_of_ones_own_needs_the_dense_one(tmp_path: Path) -> None:
    written(tmp_path, OwnNet(), None)
    with pytest.raises(LoadError, match=r"pass the dense one: load\(folder, model=...\)"):
        load(tmp_path)


def test_the_weights_do_not_hang_on_the_file(tmp_path: Path) -> None:
    path = written(tmp_path, build_model("resnet20", CLASSES, 1, WIDTH), "resnet20")
    loaded = load(tmp_path)
    before = loaded.state_dict()["classifier.weight"].clone()
    with path.open("r+b") as file:
        file.write(b"\xff" * path.stat().st_size)
    assert torch.equal(loaded.state_dict()["classifier.weight"], before)


def test_the_header_gives_the_normalisation(tmp_path: Path) -> None:
    path = written(tmp_path, build_model("resnet20", CLASSES, 1, WIDTH), "resnet20")
    for where in (tmp_path, path):
        assert read_header(where) == header_of("resnet20")
    images = read_header(tmp_path).normalization(torch.full((2, 1, 4, 4), 111, dtype=torch.uint8))
    torch.testing.assert_close(images, torch.ones(2, 1, 4, 4))


# Hostile and damaged files. Each function takes the tensors of a good file and returns those of a bad one.


def with_nan(tensors: Tensors) -> Tensors:
    tensors["classifier.weight"][0, 0] = float("nan")
    return tensors


def with_infinity(tensors: Tensors) -> Tensors:
    tensors["stem.1.running_var"][0] = float("inf")
    return tensors


def with_negative_variance(tensors: Tensors) -> Tensors:
    tensors["stem.1.running_var"][0] = -1.0
    return tensors


def without_a_tensor(tensors: Tensors) -> Tensors:
    del tensors["stem.0.weight"]
    return tensors


def with_another_tensor(tensors: Tensors) -> Tensors:
    return tensors | {"backdoor.weight": torch.ones(1)}


def too_wide(tensors: Tensors) -> Tensors:
    weight = tensors["blocks.0.conv1.weight"]
    return tensors | {"blocks.0.conv1.weight": torch.cat([weight, weight])}


def empty_layer(tensors: Tensors) -> Tensors:
    return tensors | {"blocks.0.conv1.weight": tensors["blocks.0.conv1.weight"][:0]}


def flat_weight(tensors: Tensors) -> Tensors:
    return tensors | {"blocks.0.conv1.weight": tensors["blocks.0.conv1.weight"].flatten()}


def smaller_kernel(tensors: Tensors) -> Tensors:
    return tensors | {"blocks.0.conv1.weight": tensors["blocks.0.conv1.weight"][..., :1].contiguous()}


def layers_that_do_not_fit(tensors: Tensors) -> Tensors:
    return tensors | {"blocks.0.conv1.weight": tensors["blocks.0.conv1.weight"][:3]}


def fewer_classes(tensors: Tensors) -> Tensors:
    return tensors | {name: tensors[name][:4] for name in ("classifier.weight", "classifier.bias")}


def half_precision(tensors: Tensors) -> Tensors:
    return tensors | {"classifier.bias": tensors["classifier.bias"].half()}


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (with_nan, "'classifier.weight' holds values that are not finite"),
        (with_infinity, "'stem.1.running_var' holds values that are not finite"),
        (with_negative_variance, "answers zeros with values that are not finite"),
        (without_a_tensor, "'stem.0.weight' is missing"),
        (with_another_tensor, "'backdoor.weight' is not part of the network"),
        (too_wide, "shape .* is not cut from"),
        (empty_layer, "shape .* is not cut from"),
        (flat_weight, "shape .* is not cut from"),
        (smaller_kernel, "layer blocks.0.conv1: kernel"),
        (layers_that_do_not_fit, "does not run on"),
        (fewer_classes, "outputs for 10 classes"),
        (half_precision, r"is float16 \(10,\), the network\'s is float32 \(10,\)"),
    ],
)
def test_bad_tensors_are_refused_in_one_line(tmp_path: Path, damage: Callable[[Tensors], Tensors], reason: str) -> None:
    path = written(tmp_path, build_model("resnet20", CLASSES, 1, WIDTH), "resnet20")
    save_file(damage(load_file(path)), path, metadata=header_of("resnet20").to_metadata())
    with pytest.raises(LoadError, match=reason) as refused:
        load(tmp_path)
    assert "\n" not in str(refused.value)
    assert refused.value.exit_code == 4


class Exploit:
    """Unpickling it would make a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return os.mkdir, (str(self.path),)


def test_a_pickle_is_refused_and_not_run(tmp_path: Path) -> None:
    planted = tmp_path / "planted"
    (tmp_path / WEIGHTS_FILE).write_bytes(pickle.dumps(Exploit(planted)))
    with pytest.raises(LoadError, match="is refused"):
        load(tmp_path)
    assert not planted.exists()


@pytest.mark.parametrize("keep", [0, 7, 100, -1])
def test_a_truncated_file_is_refused(tmp_path: Path, keep: int) -> None:
    path = written(tmp_path, build_model("resnet20", CLASSES, 1, WIDTH), "resnet20")
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(LoadError, match="is refused"):
        load(tmp_path)


def test_a_header_that_claims_to_be_huge_is_refused(tmp_path: Path) -> None:
    (tmp_path / WEIGHTS_FILE).write_bytes(struct.pack("<Q", 1 << 62) + b"{}")
    with pytest.raises(LoadError, match="is refused"):
        load(tmp_path)


def test_links_and_pipes_are_refused(tmp_path: Path) -> None:
    target = tmp_path / "elsewhere"
    written(tmp_path, build_model("resnet20", CLASSES, 1, WIDTH), "resnet20").rename(target)
    (tmp_path / WEIGHTS_FILE).symlink_to(target)
    with pytest.raises(LoadError, match="not a regular file"):
        load(tmp_path)
    (tmp_path / WEIGHTS_FILE).unlink()
    os.mkfifo(tmp_path / WEIGHTS_FILE)
    with pytest.raises(LoadError, match="not a regular file"):
        load(tmp_path)


def test_an_oversized_file_is_refused(tmp_path: Path) -> None:
    with (tmp_path / WEIGHTS_FILE).open("wb") as file:
        file.truncate(MAX_BYTES + 1)  # a hole: it takes no space
    with pytest.raises(LoadError, match="bytes, more than"):
        load(tmp_path)


@pytest.mark.parametrize("missing", [".", "nowhere"])
def test_a_missing_file_is_named(tmp_path: Path, missing: str) -> None:
    with pytest.raises(LoadError, match="does not exist"):
        load(tmp_path / missing)


def test_an_unknown_model_is_refused(tmp_path: Path) -> None:
    written(tmp_path, build_model("resnet20", CLASSES, 1, WIDTH), "os.system")
    with pytest.raises(LoadError, match=r"model='os\.system': the zoo has"):
        load(tmp_path)


def test_a_huge_width_takes_no_memory(tmp_path: Path) -> None:
    path = written(tmp_path, build_model("vgg16", CLASSES, 1, WIDTH), "vgg16")
    header = Header(SHAPE, ModelSpec("vgg16", 1 << 20, 1, 16.0))  # 100 GB, were it built
    save_file(load_file(path), path, metadata=header.to_metadata())
    with pytest.raises(LoadError, match="outputs for 1048576 classes"):
        load(tmp_path)


def test_other_peoples_safetensors_are_refused(tmp_path: Path) -> None:
    save_file({"weight": torch.ones(1)}, tmp_path / WEIGHTS_FILE, metadata={"format": "pt"})
    with pytest.raises(LoadError, match="was not written by amc"):
        load(tmp_path)
    save_file({"weight": torch.ones(1)}, tmp_path / WEIGHTS_FILE, metadata={"amc": json.dumps({"format": 99})})
    with pytest.raises(LoadError, match="its format is 99"):
        load(tmp_path)
