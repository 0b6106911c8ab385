import pytest

from amc.comparison.names import drawn, markdown
from amc.names import printable


@pytest.mark.parametrize("name", ["\x1b[31mred", "two\nlines", "\ud800", "a\u202eb", "x" * 500, 7])
def test_a_name_is_one_short_line_that_a_terminal_can_print(name: object) -> None:
    assert printable(name).isprintable()
    assert len(printable(name)) <= 80
    printable(name).encode()


def test_a_long_name_keeps_both_ends() -> None:
    assert printable("start" + "x" * 100 + "end").startswith("start")
    assert printable("start" + "x" * 100 + "end").endswith("end")
    assert len(printable("x" * 9, longest=8)) == 8
    assert printable("optuna (sampler=tpe)") == "optuna (sampler=tpe)"


def test_markdown_means_nothing() -> None:
    assert markdown("a|b") == "a\\|b"
    assert markdown("<script>[x](y)`*") == "\\<script\\>\\[x\\](y)\\`\\*"


def test_a_drawn_name_is_no_formula_and_not_hidden() -> None:
    assert drawn("$x$") == r"\$x\$"
    assert not drawn("_hidden").startswith("_")
    assert drawn("\u6f22") == "?"
    assert drawn("optuna (sampler=cmaes)", longest=12) == "optuna…maes)"
