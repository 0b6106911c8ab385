"""One's own network, weights and data from the command line: real processes, tiny settings."""

import json
import os
import subprocess
from pathlib import Path

import pytest
import torch
from preloaded_python import preloaded_python
from safetensors.torch import save_file
from torch import nn

import amc
from amc.comparison.publish import compare
from amc.weights.loading import LoadError, read_header
from amc.weights.metadata import Header

ROOT = Path(__file__).parents[1]
FAST = ["policy=random", "episodes=3", "finetune.epochs=0", "threads=1"]
MODULE = """
import torch
from torch import nn
from sklearn.datasets import load_digits

def build_net(num_classes, depth=1):
    layers = [nn.Conv2d(1, 16, 3, padding=1), nn.ReLU()]
    for _ in range(depth):
        layers += [nn.Conv2d(16, 16, 3, padding=1), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, num_classes))

def make_splits(scale=16):
    images, labels = load_digits(return_X_y=True)
    images = torch.tensor(images).view(-1, 1, 8, 8) / scale
    return (images[:600], labels[:600]), (images[600:800], labels[600:800])

def no_module():
    return "net"

def two_heads():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 12))

def too_large(num_classes):
    return nn.Sequential(nn.Conv2d(1, 4, 9), nn.Flatten(), nn.Linear(4, num_classes))

def with_password(num_classes, password, pin):
    assert type(password) is str and password == "hunter2" and type(pin) is int and pin == 424242
    return build_net(num_classes)

def leaves(num_classes):
    exit(0)

def leaves_at_once(num_classes):
    import os
    os._exit(0)

def no_labels():
    return torch.zeros(10, 1, 8, 8)
"""


AGENT = """
from envs.search import run_episode

class Greedy:
    def __init__(self, keep, seed):
        assert seed == 3
        self.keep = keep

    def search(self, env):
        while True:
            run_episode(env, lambda _: self.keep)
"""


def own_network(depth: int, seed: int = 0) -> nn.Module:
    """The network of ``my_pkg.build_net``."""
    torch.manual_seed(seed)
    layers: list[nn.Module] = [nn.Conv2d(1, 16, 3, padding=1), nn.ReLU()]
    for _ in range(depth):
        layers += [nn.Conv2d(16, 16, 3, padding=1), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "my_pkg.py").write_text(MODULE)
    save_file(own_network(1).state_dict(), tmp_path / "net.safetensors")
    return tmp_path


def run(command: str, args: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*preloaded_python(), "-m", command, *args, f"cache_dir={folder / 'cache'}"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=300,
    )


OWN = ["model._target_=my_pkg.build_net", "data._target_=my_pkg.make_splits"]
SMALL = ["data.calibration=100", "data.search=100"]


def test_a_trained_network_of_ones_own_is_searched_and_comes_back(folder: Path) -> None:
    args = [*OWN, *SMALL, "model.checkpoint=net.safetensors", *FAST]
    process = run("amc.search", args, folder)
    assert process.returncode == 0, process.stderr
    assert "not trained yet" not in process.stdout
    where = folder / "outputs/default/build_net-make_splits/random/seed0"
    result = json.loads((where / "result.json").read_text())
    assert (result["model"], result["data"]) == ("build_net", "make_splits")
    assert result["pruned"]["flops"] <= 0.5 * result["dense"]["flops"]
    assert result["settings"]["model.checkpoint"] == "net.safetensors"
    with pytest.raises(LoadError, match="pass the dense one"):
        amc.load(where)
    small = amc.load(where, model=own_network(1))
    assert sum(parameter.numel() for parameter in small.parameters()) == result["pruned"]["params"]
    # Floats are a network's input as they are, and no code of the folder's makes them so.
    assert read_header(where) == Header((1, 1, 8, 8), None, (0.0,), (1.0,))

    assert "finished before" in run("amc.search", args, folder).stdout
    save_file(own_network(1, seed=1).state_dict(), folder / "net.safetensors")
    other = run("amc.search", args, folder)
    assert other.returncode == 2
    assert "model.checkpoint_sha256=" in other.stderr


def test_what_comes_from_the_environment_is_used_and_not_written_down(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DB_PASSWORD", "hunter2")
    monkeypatch.setenv("DB_PIN", "424242")
    secrets = "{password:'${oc.env:DB_PASSWORD}',pin:'${oc.decode:${oc.env:DB_PIN}}'}"
    args = ["model._target_=my_pkg.with_password", f"model.args={secrets}", "data._target_=my_pkg.make_splits"]
    process = run("amc.search", [*args, *SMALL, "train.epochs=0", *FAST], folder)
    assert process.returncode == 0, process.stderr
    compare(folder / "outputs", folder / "outputs", None)
    assert (folder / "outputs/compare.html").exists()
    where = folder / "outputs/default/with_password-make_splits/random/seed0"
    assert json.loads((where / "asked.json").read_text())["model.args.password"] == "${oc.env:DB_PASSWORD}"
    for path in (*(folder / "outputs").rglob("*"), *(folder / "cache").rglob("*")):
        if path.is_file():
            assert b"hunter2" not in path.read_bytes(), path
            assert b"424242" not in path.read_bytes(), path


@pytest.mark.slow
def test_choices_of_ones_own_stand_in_a_folder_of_ones_own(folder: Path) -> None:
    (folder / "conf/model").mkdir(parents=True)
    (folder / "conf/data").mkdir()
    torch.save(own_network(3).state_dict(), folder / "deep.pt")
    (folder / "conf/model/deep.yaml").write_text(
        "name: deep\n_target_: my_pkg.build_net\nargs: {depth: 2}\ncheckpoint: deep.pt\n"
    )
    (folder / "conf/data/scans.yaml").write_text(
        "_target_: my_pkg.make_splits\ncalibration: 100\nsearch: 100\nfinetune_epochs: 0\n"
    )
    args = ["--config-dir", "conf", "model=deep", "data=scans", "train.epochs=0", *FAST]
    # One key of the file is given anew, one is added.
    process = run("amc.search", [*args, "model.args.depth=3", "data.args={scale: 8}"], folder)
    assert process.returncode == 0, process.stderr
    result = json.loads((folder / "outputs/default/deep-make_splits/random/seed0/result.json").read_text())
    assert [row["layer"] for row in result["strategy"]] == ["2", "4", "6", "10"]
    assert result["settings"]["data.args.scale"] == 8


@pytest.mark.slow
def test_a_network_of_ones_own_is_trained_where_there_are_no_weights(folder: Path) -> None:
    process = run("amc.train", [*OWN, *SMALL, "train.epochs=1", "model.name=mine"], folder)
    assert process.returncode == 0, process.stderr
    assert "mine on make_splits: not trained yet" in process.stdout


@pytest.mark.parametrize(
    ("args", "exit_code", "said"),
    [
        (["model=custom"], 2, "model=custom needs model._target_"),
        (["data=custom"], 2, "data._target_"),
        (
            ["model._target_=my_pkg.nothing"],
            2,
            "model._target_=my_pkg.nothing cannot be imported: my_pkg has no nothing",
        ),
        (["data._target_=no_pkg.nothing"], 2, "No module named 'no_pkg'"),
        (["model._target_=my_pkg.no_module"], 2, "returns a str, not a torch.nn.Module"),
        (["model._target_=my_pkg.build_net", "model.args={dept: 3}"], 2, "unexpected keyword argument 'dept'"),
        (["model._target_=my_pkg.build_net", "model.pretrained=true"], 2, "no parameter 'pretrained'"),
        (["model.args={depth: 3}"], 2, "goes with model._target_"),
        (["model.pretrained=true"], 2, "no weights of model=mobilenet"),
        (["model.name=mobilnet"], 2, "the zoo has"),
        (["model=timm"], 2, "model=timm needs timm: pip install 'amc-search[zoo]'"),
        (["data._target_=my_pkg.no_labels"], 2, "must return (train, test)"),
        (["model._target_=my_pkg.two_heads"], 3, "returns [1, 12] for 1 image of 10 classes"),
        (["model._target_=my_pkg.too_large"], 3, "fails on images of [1, 8, 8]"),
        (["model._target_=my_pkg.leaves"], 2, "called exit(0)"),
        (["model._target_=my_pkg.leaves_at_once"], 2, "called exit(0)"),
        (["--foo"], 2, "unrecognized arguments: --foo"),
        ([*OWN, *SMALL, "model.checkpoint=nowhere.pt"], 2, "model.checkpoint=nowhere.pt is no file"),
        ([*OWN, *SMALL, "model.checkpoint=net.safetensors", "model.args={depth: 2}"], 4, "'4.bias' is missing"),
        ([*OWN, *SMALL, "model.checkpoint=my_pkg.py"], 4, "model.checkpoint=my_pkg.py is refused"),
    ],
)
def test_an_error_is_one_line_and_an_exit_code(args: list[str], exit_code: int, said: str, folder: Path) -> None:
    process = run("amc.search", args, folder)
    assert process.returncode == exit_code, process.stderr
    assert len(process.stderr.splitlines()) == 1
    assert said in process.stderr


def test_what_is_trained_is_not_trained(folder: Path) -> None:
    process = run("amc.train", [*OWN, "model.checkpoint=net.safetensors"], folder)
    assert process.returncode == 2
    assert "python -m amc.search prunes it" in process.stderr


def test_a_policy_of_ones_own_plays_until_there_is_no_episode_left(folder: Path) -> None:
    (folder / "my_agents.py").write_text(AGENT)
    own = ["policy._target_=my_agents.Greedy", "policy.keep=0.4", "seed=3"]
    small = ["model=mobilenet", "experiment=smoke", "train.epochs=0", "finetune.epochs=0", "episodes=2"]
    done = run("amc.search", [*own, *small], folder)
    assert done.returncode == 0, done.stderr
    result = json.loads((folder / "outputs/default/mobilenet-digits/Greedy/seed3/result.json").read_text())
    assert (result["policy"], result["trials"]) == ("Greedy", 2)
    of_policy = {key: value for key, value in result["settings"].items() if key.startswith("policy.")}
    assert of_policy == {"policy._target_": "my_agents.Greedy", "policy.keep": 0.4}
