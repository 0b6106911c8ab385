"""What is printed behind an export is run: it loads the file, and the outputs are those of the pruned network."""

import re
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from torch import nn

import amc
from amc.deploy.exporting import _in_int8, export_run
from amc.deploy.saved_run import saved_config
from amc.errors import ConfigError, RefusedInput
from amc.runtimes.exports import export_network
from amc.weights.export import ONNX_FILE, weights_bytes
from amc.weights.loading import read_header
from amc.weights.metadata import Header
from amc.zoo.data.dataset import Split

RUN = Path(__file__).parents[2] / "data/run_folder_0_1/plain/mobilenet-digits/amc/seed0"


@pytest.mark.parametrize("wanted", ["safetensors", pytest.param("pt2", marks=pytest.mark.slow)])
def test_the_lines_that_are_printed_load_what_was_written(wanted: str, tmp_path: Path) -> None:
    # The weights alone are loaded by the folder, which holds the file.
    written, *code, scaled = "\n".join(export_run(RUN, wanted, tmp_path)).splitlines()
    path = tmp_path / f"pruned.{wanted}"
    assert written.startswith(f"{path}: ")
    mean, deviation = (torch.tensor(float(each)) for each in re.findall(r"\[([\d.]+)\]", scaled))
    small = amc.load(RUN)
    shape = read_header(RUN).input_shape[1:]
    as_bytes = torch.randint(0, 17, (3, *shape), dtype=torch.uint8)
    names: dict[str, Any] = {"images": (as_bytes.float() - mean) / deviation}
    exec("\n".join(code), names)  # noqa: S102  what our own function printed
    expected = small(read_header(RUN).normalization(as_bytes))
    torch.testing.assert_close(names["logits"], expected, rtol=1e-3, atol=1e-3)


@pytest.fixture
def strange(tmp_path: Path) -> Path:
    """A stranger's run: of a network of their own, which their configuration says how to build."""
    run = shutil.copytree(RUN, tmp_path / "run")
    (run / "pruned.safetensors").write_bytes(weights_bytes(amc.load(RUN), Header((1, 1, 8, 8))))
    return run


def change(run: Path, group: str, **settings: object) -> None:
    config = OmegaConf.load(run / ".hydra/config.yaml")
    OmegaConf.update(config, group, settings, merge=True)
    OmegaConf.save(config, run / ".hydra/config.yaml")


@pytest.mark.parametrize("group", ["model", "data"])
def test_code_that_a_folder_names_is_not_called(group: str, strange: Path, tmp_path: Path) -> None:
    change(strange, group, _target_="os.system", args={"command": f"touch {tmp_path / 'canary'}"})
    with pytest.raises(RefusedInput, match=rf"names code, {group}._target_=os.system: .*--own-code"):
        list(export_run(strange, "safetensors", tmp_path))
    assert not (tmp_path / "canary").exists()
    # The attack is one: with the user's word for it, it is called.
    with pytest.raises(ConfigError, match=r"returns a int|data"):
        list(export_run(strange, "safetensors", tmp_path, own_code=True))
    assert (tmp_path / "canary").exists()


def test_data_that_a_folder_names_is_not_read_for_eight_bits(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    run = shutil.copytree(RUN, tmp_path / "run")
    change(run, "data", _target_="os.system", args={"command": f"touch {tmp_path / 'canary'}"})
    with pytest.raises(RefusedInput, match=r"names code, data\._target_"):
        list(export_run(run, "onnx", tmp_path, int8=True))
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize(("loudest", "loses"), [(1.0, False), (2000.0, True)])
def test_eight_bits_that_lose_more_than_a_point_say_so(loudest: float, loses: bool, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    # One step of eight bits is as large as a 255th of the loudest input, and classes differ in the quiet one.
    network = nn.Sequential(nn.Flatten(), nn.Linear(2, 2, bias=False)).eval()
    network[1].load_state_dict({"weight": torch.tensor([[0.0, -1.0], [0.0, 1.0]])})
    images = torch.rand(400, 1, 1, 2, generator=torch.Generator().manual_seed(0)) * 2 - 1
    images *= torch.tensor([loudest, 1.0])
    split = Split(images, (images[..., 1] > 0).long().flatten())
    data: Any = SimpleNamespace(splits=SimpleNamespace(calibration=split, test=split), inputs=lambda images: images)
    (tmp_path / ONNX_FILE).write_bytes(export_network(network, "onnx", images[:2]).files[ONNX_FILE])
    first = next(_in_int8(data, tmp_path, (1, 1, 2)))
    assert "in float32 100.00%" in first
    assert (": more than a point; fine-tuning for eight bits is not done here" in first) == loses


def test_what_is_not_called_may_be_named(strange: Path) -> None:
    change(strange, "model", _target_="os.system")
    assert saved_config(strange, ("data",)).model._target_ == "os.system"


@pytest.mark.parametrize(
    "text", ["a: &a [x, x]\nb: [*a, *a]\n", "a: " + "x" * (1 << 20), "a: [", "[" * 500_000, "- 1", "1"]
)
def test_a_configuration_that_hydra_did_not_write_is_refused(text: str, strange: Path) -> None:
    (strange / ".hydra/config.yaml").write_text(text)
    with pytest.raises(RefusedInput, match="no configuration of a search"):
        saved_config(strange)
