from pathlib import Path

import pytest
from omegaconf import OmegaConf

from amc.tracking.public_config import public_config

WRITTEN = """
name: study
seed: ${oc.env:SEED_OF_THE_DAY}
episodes: 5
value: ${oc.env:TOKEN}
with_default: ${oc.env:NOT_THERE,${oc.env:TOKEN}}
inside: prefix-${oc.env:TOKEN}-suffix
behind: ${inside}
decoded: ${oc.decode:${oc.env:TOKEN}}
policy: {seed: "${seed}", size: "${episodes}", copied: ["${value}", 1, null]}
whole: ${policy}
job: ${hydra:job.name}
missing: ???
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TOKEN", "hunter2")
    monkeypatch.setenv("SEED_OF_THE_DAY", "hunter2")
    (tmp_path / ".hydra").mkdir()
    (tmp_path / ".hydra/config.yaml").write_text(WRITTEN)
    return tmp_path


def test_nothing_of_the_environment_is_in_it(folder: Path) -> None:
    assert "hunter2" not in str(public_config(folder))


def test_references_to_the_environment_remain_as_written(folder: Path) -> None:
    public = public_config(folder)
    assert public["value"] == "${oc.env:TOKEN}"
    assert public["inside"] == public["behind"] == "prefix-${oc.env:TOKEN}-suffix"
    assert public["policy"]["seed"] == "${oc.env:SEED_OF_THE_DAY}"
    assert public["policy"]["copied"] == ["${oc.env:TOKEN}", 1, None]


def test_everything_else_is_resolved_where_it_can_be(folder: Path) -> None:
    public = public_config(folder)
    assert (public["name"], public["policy"]["size"], public["missing"]) == ("study", 5, "???")
    assert public["whole"] == public["policy"]
    assert public["job"] == "${hydra:job.name}"


def test_the_environment_is_readable_again_afterwards(folder: Path) -> None:
    public_config(folder)
    assert OmegaConf.create({"value": "${oc.env:TOKEN}"}).value == "hunter2"
    assert OmegaConf.create({"value": "${oc.env:NOT_THERE,5}"}).value == "5"
