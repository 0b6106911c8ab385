"""What is installed from a wheel works far from the checkout, whatever lies in the working directory."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
OWN_CODE = """
import torch
from torch import nn
from sklearn.datasets import load_digits

def build_net(num_classes):
    return nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(288, num_classes))

def make_splits():
    images, labels = load_digits(return_X_y=True)
    images = torch.tensor(images).view(-1, 1, 8, 8) / 16
    return (images[:600], labels[:600]), (images[600:800], labels[600:800])
"""
OWN = ["model._target_=my_pkg.build_net", "data._target_=my_pkg.make_splits"]
FAST = ["data.calibration=50", "data.search=50", "train.epochs=0", "finetune.epochs=0", "policy=uniform", "threads=1"]
FAST += ["device_profile=torch-eager"]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the wheel is installed in, with its console scripts in ``bin``."""
    built, site = tmp_path_factory.mktemp("built"), tmp_path_factory.mktemp("site")
    hatch = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(built)]
    subprocess.run(hatch, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = built.glob("*.whl")
    pip = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--target", str(site), str(wheel)]
    subprocess.run(pip, check=True, capture_output=True)
    return site


def run(command: list[str | Path], folder: Path, site: Path) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    environment |= {"PYTHONPATH": str(site), "COLUMNS": "200"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)


def make_package(folder: Path, name: str) -> Path:
    (folder / name).mkdir()
    (folder / name / "__init__.py").write_text(f"raise SystemExit('the {name} of somebody else was imported')\n")
    return folder / name


def test_the_configuration_is_found(site: Path, tmp_path: Path) -> None:
    process = run([sys.executable, "-m", "amc.search", "--cfg", "job", "model=resnet20", "seed=3"], tmp_path, site)
    assert process.returncode == 0, process.stderr
    assert "name: resnet20" in process.stdout
    where = "import amc, amc.config.conf_folder as c, envs, baselines; print(amc.__file__, c.CONF)"
    process = run([sys.executable, "-c", where], tmp_path, site)
    assert process.stdout.split() == [str(site / "amc/__init__.py"), str(site / "amc/conf")]
    templates = (ROOT / "amc/report/templates").iterdir()
    assert all((site / "amc/report/templates" / template.name).exists() for template in templates)


@pytest.mark.parametrize("command", ["search", "train", "compare"])
@pytest.mark.parametrize("name", ["envs", "baselines"])
def test_a_folder_that_hides_a_package_is_named_in_one_line(
    command: str, name: str, site: Path, tmp_path: Path
) -> None:
    hiding = make_package(tmp_path, name)
    process = run([sys.executable, "-m", f"amc.{command}"], tmp_path, site)
    assert process.returncode == 2
    (line,) = process.stderr.splitlines()
    assert line.startswith(f"amc.{command}: {hiding} hides the package {name!r} of amc-search, which is in {site}: ")
    assert "amc-search" in line


def test_a_file_that_hides_a_package_is_named_to_who_imports(site: Path, tmp_path: Path) -> None:
    (tmp_path / "envs.py").touch()
    process = run([sys.executable, "-c", "import amc; amc.prune"], tmp_path, site)
    assert process.returncode == 1
    assert process.stderr.splitlines()[-1].startswith(f"ImportError: {tmp_path / 'envs.py'} hides the package 'envs'")


def test_a_folder_without_code_hides_nothing(site: Path, tmp_path: Path) -> None:
    (tmp_path / "envs").mkdir()
    process = run([sys.executable, "-m", "amc.search", "--cfg", "job"], tmp_path, site)
    assert process.returncode == 0, process.stderr


def test_a_console_script_minds_no_folder_and_finds_code_of_ones_own(site: Path, tmp_path: Path) -> None:
    for name in ("amc", "baselines", "envs"):
        make_package(tmp_path, name)
    (tmp_path / "my_pkg.py").write_text(OWN_CODE)
    process = run([site / "bin/amc-search", *OWN, *FAST, f"cache_dir={tmp_path / 'cache'}"], tmp_path, site)
    assert process.returncode == 0, process.stderr
    result = tmp_path / "outputs/default/build_net-make_splits/uniform/seed0/result.json"
    assert json.loads(result.read_text())["model"] == "build_net"
    process = run([site / "bin/amc-train", *OWN, *FAST[:3], f"cache_dir={tmp_path / 'cache'}"], tmp_path, site)
    assert "trained before" in process.stdout
    process = run([site / "bin/amc-compare", "outputs"], tmp_path, site)
    assert process.returncode == 0, process.stderr
    assert (tmp_path / "outputs/compare.html").exists()


@pytest.mark.parametrize("script", ["amc-search", "amc-train", "amc-compare", "amc-verify"])
def test_a_console_script_says_the_version(script: str, site: Path, tmp_path: Path) -> None:
    process = run([site / "bin" / script, "--version"], tmp_path, site)
    assert (process.returncode, process.stdout) == (0, "amc-search 0.1.0\n")
