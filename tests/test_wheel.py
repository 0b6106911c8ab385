"""What is installed from a wheel works far from the checkout."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_an_installed_wheel_finds_its_configuration(tmp_path: Path) -> None:
    built, site = tmp_path / "built", tmp_path / "site"
    hatch = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(built)]
    subprocess.run(hatch, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = built.glob("*.whl")
    # A pure wheel is installed by unpacking it.
    zipfile.ZipFile(wheel).extractall(site)
    show = [sys.executable, "-P", "-m", "amc.search", "--cfg", "job", "model=resnet20", "seed=3"]
    environment = os.environ | {"PYTHONPATH": str(site)}
    process = subprocess.run(show, cwd=tmp_path, env=environment, check=True, capture_output=True, text=True)
    assert "name: resnet20" in process.stdout
    where = [
        sys.executable,
        "-P",
        "-c",
        "import amc, amc.config.conf_folder as c, envs, baselines; print(amc.__file__, c.CONF)",
    ]
    process = subprocess.run(where, cwd=tmp_path, env=environment, check=True, capture_output=True, text=True)
    assert process.stdout.split() == [str(site / "amc/__init__.py"), str(site / "amc/conf")]
    templates = (ROOT / "amc/report/templates").iterdir()
    assert all((site / "amc/report/templates" / template.name).exists() for template in templates)
