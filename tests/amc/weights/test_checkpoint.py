import hashlib
import os
import pickle
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from amc.config.identity import run_settings
from amc.config.recipe import Finetuning
from amc.config.schema import DataConfig, ModelConfig, SearchConfig
from amc.errors import ConfigError, RefusedInput
from amc.weights.checkpoint import load_checkpoint


def network(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.LazyLinear(3)).eval()


def built(seed: int) -> nn.Module:
    net = network(seed)
    net(torch.zeros(1, 1, 5, 5))
    return net


def save(path: Path, tensors: dict[str, Tensor]) -> str:
    if path.suffix == ".safetensors":
        safetensors.torch.save_file(tensors, path)
    else:
        torch.save(tensors, path)
    return str(path)


@pytest.mark.parametrize("name", ["net.safetensors", "net.pt", "net.pth"])
def test_a_checkpoint_comes_back(name: str, tmp_path: Path) -> None:
    trained, fresh, image = built(1), built(2), torch.randn(2, 1, 5, 5)
    assert not torch.equal(trained(image), fresh(image))
    load_checkpoint(fresh, save(tmp_path / name, trained.state_dict()))
    assert torch.equal(trained(image), fresh(image))


@pytest.mark.parametrize("name", ["net.safetensors", "net.pt"])
@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod."])
def test_weights_saved_from_a_wrapped_network_fit_the_bare_one(prefix: str, name: str, tmp_path: Path) -> None:
    trained, fresh, image = built(1), built(2), torch.randn(2, 1, 5, 5)
    wrapped = {f"{prefix}{key}": tensor for key, tensor in trained.state_dict().items()}
    load_checkpoint(fresh, save(tmp_path / name, wrapped))
    assert torch.equal(trained(image), fresh(image))


def test_weights_are_found_beside_the_optimizers(tmp_path: Path) -> None:
    trained, fresh, image = built(1), built(2), torch.randn(2, 1, 5, 5)
    wrapped = {f"module.{key}": tensor for key, tensor in trained.state_dict().items()}
    torch.save({"epoch": 3, "state_dict": wrapped, "best": 0.9}, tmp_path / "net.pt")
    load_checkpoint(fresh, str(tmp_path / "net.pt"))
    assert torch.equal(trained(image), fresh(image))


def nan(tensors: dict[str, Tensor]) -> None:
    tensors["0.weight"][0] = float("nan")


def resized(tensors: dict[str, Tensor]) -> None:
    tensors["0.bias"] = torch.zeros(5)


def halved(tensors: dict[str, Tensor]) -> None:
    tensors["0.bias"] = tensors["0.bias"].half()


@pytest.mark.parametrize("name", ["net.safetensors", "net.pt"])
@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda tensors: tensors.pop("1.running_var"), r"'1.running_var' is missing$"),
        (lambda tensors: tensors.update(extra=torch.ones(1)), "'extra' is not part of the network$"),
        (resized, r"'0.bias' is float32 \(5,\), the network's is float32 \(4,\)$"),
        (halved, "'0.bias' is float16"),
        (nan, "'0.weight' holds values that are not finite$"),
    ],
)
def test_what_does_not_fit_is_refused(
    name: str, damage: Callable[[dict[str, Tensor]], object], said: str, tmp_path: Path
) -> None:
    tensors = {name: tensor.clone() for name, tensor in built(1).state_dict().items()}
    damage(tensors)
    net = built(2)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    with pytest.raises(RefusedInput, match=said) as error:
        load_checkpoint(net, save(tmp_path / name, tensors))
    assert "\n" not in str(error.value)
    assert all(torch.equal(before[key], tensor) for key, tensor in net.state_dict().items())


class Planted:
    """Would run code when unpickled in good faith."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize(
    "content",
    [b"", b"PK\x03\x04 no zip", b"\x80\x02no pickle", pickle.dumps({"a": 1}), pickle.dumps({1: 2}, protocol=2)],
)
@pytest.mark.parametrize("name", ["net.safetensors", "net.pt"])
def test_damaged_files_are_refused(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(RefusedInput, match="is refused") as error:
        load_checkpoint(built(1), str(tmp_path / name))
    assert "\n" not in str(error.value)


def test_what_is_refused_is_refused_in_one_line(tmp_path: Path) -> None:
    torch.save(built(1).state_dict(), tmp_path / "net.pt", pickle_protocol=4)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        with pytest.raises(RefusedInput, match="more than tensors"):
            load_checkpoint(built(2), str(tmp_path / "net.pt"))
    assert not said


def test_code_in_a_file_does_not_run(tmp_path: Path) -> None:
    torch.save({"0.weight": Planted(tmp_path / "planted")}, tmp_path / "net.pt")
    (tmp_path / "plain.pt").write_bytes(pickle.dumps(Planted(tmp_path / "planted")))
    torch.save(built(1), tmp_path / "whole.pt")
    for name in ("net.pt", "plain.pt", "whole.pt"):
        with pytest.raises(RefusedInput, match=r"save model.state_dict\(\)"):
            load_checkpoint(built(1), str(tmp_path / name))
    assert not (tmp_path / "planted").exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda tensor: tensor.to("meta"), "'0.weight' holds no values"),
        (lambda tensor: tensor.to_sparse(), "'0.weight' holds sparse_coo"),
        (lambda tensor: torch.quantize_per_tensor(tensor, 0.1, 0, torch.qint8), "is refused"),
        (lambda tensor: tensor.new_zeros(()).expand(tensor.shape), "is refused|^$"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_tensors_that_hold_no_values_are_refused(change: Callable[[Tensor], Tensor], said: str, tmp_path: Path) -> None:
    tensors = dict(built(1).state_dict())
    tensors["0.weight"] = change(tensors["0.weight"])
    path = save(tmp_path / "net.pt", tensors)
    net = built(2)
    if "$" in said:  # one value, repeated: as good as any
        load_checkpoint(net, path)
        return
    with pytest.raises(RefusedInput, match=said) as error:
        load_checkpoint(net, path)
    assert "\n" not in str(error.value)


def test_an_archive_that_unpacks_to_more_than_itself_is_refused(tmp_path: Path) -> None:
    plain = Path(save(tmp_path / "plain.pt", {"0.weight": torch.zeros(1 << 20)}))
    with zipfile.ZipFile(plain) as source, zipfile.ZipFile(tmp_path / "net.pt", "w", zipfile.ZIP_DEFLATED) as packed:
        for entry in source.infolist():
            packed.writestr(entry.filename, source.read(entry))
    assert (tmp_path / "net.pt").stat().st_size < 100_000
    with pytest.raises(RefusedInput, match="unpacks to"):
        load_checkpoint(built(1), str(tmp_path / "net.pt"))


def test_what_is_no_file_is_a_mistake_in_the_configuration(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.pt")
    for name in ("nowhere.pt", "", "pipe.pt"):
        with pytest.raises(ConfigError, match="is no file"):
            load_checkpoint(built(1), str(tmp_path / name))


def test_runs_are_told_apart_by_the_content_of_their_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    data = DataConfig("digits", calibration=100, search=200, finetune_epochs=1)
    cfg = SearchConfig(model=ModelConfig("plain20"), data=data, policy={}, finetune=Finetuning(1))
    cfg = replace(cfg, model=ModelConfig("plain20", checkpoint=save(path, built(1).state_dict())))
    first = run_settings(cfg)
    assert first["model.checkpoint"] == str(path)
    assert first["model.checkpoint_sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert run_settings(cfg) == first
    save(path, built(2).state_dict())
    second = run_settings(cfg)
    assert {key for key in first if first[key] != second[key]} == {"model.checkpoint_sha256"}
