import re

import pytest
from omegaconf import OmegaConf

from amc.cli.help import choices, help_text
from amc.config.composing import composed_search
from amc.config.policies import policy_names


def rows(text: str) -> dict[str, str]:
    """The text of every key."""
    found: dict[str, str] = {}
    name = ""
    for line in text.splitlines():
        start = re.match(r"  ([a-z_][\w.]*)(?:\s\s+(.*))?$", line)
        if start is not None:
            name = start[1]
            found[name] = start[2] or ""
        elif line.startswith(" " * 10) and name:
            found[name] += f" {line.strip()}"
    return found


def test_every_key_is_there_with_its_meaning_values_and_default() -> None:
    said = rows(help_text("search"))
    assert "[number; above 0, at most 1] (0.5)" in said["target"]
    assert "[whole number; 1 to 1000000] (150)" in said["episodes"]
    assert "mirror half of the images" in said["train.flip"]
    assert "one of" not in said["granularity"]
    assert "channel, block, channel_block, element, vector, kernel, n_m" in said["granularity"]
    assert said["policy.warm_up"].endswith("(0.05)")


def test_choices_in_folders_are_listed_as_they_are_asked_for() -> None:
    assert {"smoke", "paper/resnet56_cifar10"} <= set(choices("experiment"))


def test_no_key_of_a_search_is_missing() -> None:
    cfg = composed_search([])
    said = rows(help_text("search"))
    for key in OmegaConf.to_container(OmegaConf.structured(cfg)):
        assert key in said or any(name.startswith(f"{key!s}.") for name in said), key


@pytest.mark.parametrize("policy", policy_names())
def test_the_keys_of_a_policy_can_be_asked_for(policy: str) -> None:
    assert f"Keys of policy={policy} " in help_text("search", [f"policy={policy}", "--help"])


def test_lines_fit_a_terminal_and_training_knows_no_policy() -> None:
    assert max(map(len, help_text("search").splitlines())) <= 110
    assert "policy" not in rows(help_text("train"))
