"""What comes from the environment stands nowhere as it is, not even in a message."""

import pytest

from amc.environment import hidden


def test_a_message_tells_the_variable_and_not_its_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", "hunter2secret")
    monkeypatch.setenv("SHORT", "on")
    arguments = ["policy.x=${oc.env:TOKEN}", "data.folder='${oc.env:SHORT}'"]
    said = hidden("policy.x=hunter2secret: no such key, on hunter2secret", arguments)
    assert said == "policy.x=${oc.env:TOKEN}: no such key, on ${oc.env:TOKEN}"


def test_a_message_without_variables_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEVER_ASKED_FOR", "number")
    assert hidden("a whole number", ["train.lr=1"]) == "a whole number"
