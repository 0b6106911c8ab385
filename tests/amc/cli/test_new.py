"""``amc-search new``: its file and its command are what was answered, and run."""

import json
import os
import subprocess
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from preloaded_python import preloaded_python

from amc.cli.new.answers import Answers, with_answer, write
from amc.config.composing import SearchConfig, configured, register_schemas
from amc.config.conf_folder import CONF
from amc.errors import ConfigError

ROOT = Path(__file__).parents[3]
OWN = """
from torch import nn

def net(num_classes):
    return nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(128, 10))
"""


def run(arguments: list[str], folder: Path, answers: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*preloaded_python(), "-m", *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "200", "XDG_CACHE_HOME": str(folder / "cache")},
        input=answers,
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_the_command_that_it_prints_runs_what_was_answered(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(OWN)
    # A network that cannot be imported, a file that is not there and a target beyond its range are asked for again.
    answers = [
        "mine",
        "own.nett",
        "own.net",
        "gone.pt",
        "none",
        "digits",
        "random",
        "params",
        "2",
        "0.6",
        "2",
        "0",
        "3",
    ]
    asked = run(["amc.search", "new"], tmp_path, "\n".join([*answers, "", ""]))
    assert asked.returncode == 0, asked.stderr
    assert "own has no nett; did you mean net?" in asked.stdout
    assert "gone.pt is no file" in asked.stdout
    assert "target=2" in asked.stdout
    assert asked.stdout.count("Fraction of it that may be kept (0.5)") == 2
    command = asked.stdout.splitlines()[-1].split()
    assert command == ["python", "-m", "amc.search", "--config-dir", "conf", "experiment=mine"]
    process = run([*command[2:], "train.epochs=0", "threads=1", "device_profile=torch-eager"], tmp_path)
    assert process.returncode == 0, process.stderr
    folder = tmp_path / "outputs/mine/net-digits/random/seed3"
    result = json.loads((folder / "result.json").read_text())
    assert result["trials"] == 2
    assert (result["resource"], result["target"], result["seed"]) == ("params", 0.6, 3)
    assert result["pruned"]["params"] <= 0.6 * result["dense"]["params"]
    # What the report says to give again is what was given.
    given = json.loads((folder / "made.json").read_text())["command"]
    assert given.startswith("python -m amc.search --config-dir conf experiment=mine train.epochs=0")


def test_answers_that_end_too_early_leave_nothing(tmp_path: Path) -> None:
    process = run(["amc.search", "new"], tmp_path, "mine\n")
    assert process.returncode == 2
    assert process.stderr == "amc.search: no answer to 'Network'; nothing is written\n"
    assert not (tmp_path / "conf").exists()
    assert run(["amc.search", "new", "quickly"], tmp_path).returncode == 2


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "conf/policy").mkdir(parents=True)
    (tmp_path / "conf/policy/my_tqc.yaml").write_text("_target_: my_tqc.MyTQC\nlearning_starts: 20\n")
    return tmp_path


def answered(**given: str) -> Answers:
    answers: Answers = {}
    for key, answer in given.items():
        answers = with_answer(answers, key, answer)
    return answers


def test_several_policies_and_seeds_are_a_sweep_with_ones_own_among_them(here: Path) -> None:
    answers = answered(name="both", model="resnet20", data="digits", policy="my_tqc, amc", target="0.3", seed="0,1")
    file, command = write(answers)
    assert file == Path("conf/experiment/both.yaml")
    assert command.endswith("amc.search -m --config-dir conf experiment=both policy=my_tqc,amc seed=0,1")
    assert f"# {command}" in file.read_text()
    register_schemas()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        composed = compose("search", ["experiment=both", f"hydra.searchpath=[file://{here / 'conf'}]"])
    cfg = configured(composed, SearchConfig)
    assert (cfg.name, cfg.model.name, cfg.target) == ("both", "resnet20", 0.3)
    assert OmegaConf.to_container(composed.policy) == {"_target_": "my_tqc.MyTQC", "learning_starts": 20}


@pytest.mark.parametrize(
    ("key", "answer", "said"),
    [
        ("name", "../../escape", "must be letters, digits and _"),
        ("name", "smoke", "no name of an experiment that is there"),
        ("name", "it's, {odd}", "must be letters"),
        ("name", "größe", "must be letters"),
        ("data.folder", "it's, {odd}", ""),
        ("model", "mobilnet", "must be one of mobilenet"),
        ("policy", "amc,rnadom", "policy=rnadom: must be one of"),
        ("policy", "my_agents.MyPPO,amc", "'my_agents.MyPPO,amc' is not among"),
        ("data.folder", "nowhere", "no such folder"),
        ("episodes", "many", "episodes"),
        ("episodes", "${oc.env:NOWHERE}", "NOWHERE"),
        ("seed", "0,-1", "seed=-1"),
        ("export", "[tflite]", "must be of onnx, pt2"),
    ],
)
@pytest.mark.usefixtures("here")
def test_an_answer_is_refused_as_the_command_line_refuses_it(key: str, answer: str, said: str) -> None:
    if not said:
        Path(answer).mkdir()
        assert with_answer({}, key, answer) == {key: answer}
        return
    with pytest.raises((ConfigError, ValueError)) as refused:
        with_answer({}, key, answer)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)
