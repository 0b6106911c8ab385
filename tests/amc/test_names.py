"""Names as folders and on a terminal."""

import logging
from collections.abc import Callable

import pytest

from amc.cli.log_lines import LineFormatter
from amc.errors import ConfigError
from amc.names import folder_name, folder_path, printable_line

HOSTILE = [
    "..",
    ".",
    "",
    "a/../../b",
    "/etc/passwd",
    "a//b",
    "a/",
    "a\nb",
    "a\x1b[2Jb",
    "a\0b",
    "a\u202eb",
    "x" * 101,
    "語" * 34,
]


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("check", [folder_name, folder_path])
def test_a_name_that_leads_elsewhere_is_refused(check: Callable[[str, str], str], name: str) -> None:
    with pytest.raises(ConfigError, match=r"^model\.name=") as error:
        check("model.name", name)
    assert str(error.value).isprintable()


def test_only_paths_have_slashes() -> None:
    assert folder_path("name", "study/0.5/über") == "study/0.5/über"
    assert folder_name("model.name", "res net..20") == "res net..20"
    for name in ("a/b", "a\\b"):
        with pytest.raises(ConfigError, match="slashes"):
            folder_name("model.name", name)


def test_a_line_for_a_terminal_is_one_line() -> None:
    assert printable_line("first\nsecond\x1b]0;title\x07") == "first second?]0;title?"
    record = logging.LogRecord("amc", logging.INFO, "", 1, "%s read", ("a\n\x1b[31mb",), None)
    assert LineFormatter("%(message)s").format(record) == "a ?[31mb read"
